"""Screens, curves and maps made by hand for the golden pages; see `golden_records`."""

from dataclasses import replace

from codi_int.interventions.screens.additivity import PairRow
from codi_int.interventions.screens.agreement import Agreement, Misjudged, Recall, TrivialRanking
from codi_int.interventions.screens.confirmed import Confirmation, Selection
from codi_int.interventions.screens.curves import AblationCurve, CurvePoint, SetComparison
from codi_int.interventions.screens.screen import Screen, ScreenRow, ScreenSite
from codi_int.interventions.screens.thought_map import MapCell, PathSplit, ThoughtMap
from codi_int.records import ArmEffect, Conclusion, Estimate
from codi_int.types import (
    Site,
)
from tests.cli.golden_records import COUNTS, ENVIRONMENT, HASHES, SITE, arm_effect, interaction

# A screen, with pairs and agreement


def screen_row(feature: int, number: int, site: Site = SITE) -> ScreenRow:
    return ScreenRow(
        site=site,
        feature=feature,
        firing_rate=0.0317 * number,
        edit_size=0.219 * number,
        effect=arm_effect(number),
        rank=0.0913 * number,
        rank_logprob=0.0857 * number,
    )


_DEAD = Estimate(value=0.0, low=0.0, high=0.0)
DEAD_ROW = ScreenRow(
    site=SITE,
    feature=31,
    firing_rate=0.0,
    edit_size=0.0,
    effect=ArmEffect(
        accuracy=_DEAD,
        logprob=_DEAD,
        n_touched=0,
        n_broken=0,
        n_fixed=0,
        n_answer_changed=0,
    ),
)


def concluded(row: ScreenRow, word: Conclusion, found: Confirmation) -> ScreenRow:
    """A row that was selected, by accuracy where its confirmation says whether that is confirmed."""
    return replace(
        row,
        effect=replace(row.effect, conclusion=word),
        selected=found.confirmed is not None,
        selected_logprob=True,
        confirmation=found,
    )


def pair_row(a: int, b: int, number: int) -> PairRow:
    return PairRow(
        site=SITE,
        a=a,
        b=b,
        n_both=1_000 * number if number > 1 else 0,
        effect=arm_effect(number),
        estimate_a=0.00317 * number,
        estimate_b=-0.00529 * number,
        logprob_a=0.0911 * number,
        logprob_b=-0.0733 * number,
        interaction=interaction(-0.00837 * number, -0.0141, 0.0026, 0.0147 * number, 0.0211 * number),
        interaction_logprob=interaction(0.0357 * number, -0.0412, 0.0523, 0.0069 * number, 0.0308 * number),
    )


SELECTION = Selection(
    correction="discrete",
    alpha=0.05,
    bound=0.0075,
    n_tested=1_041,
    n_untested=1_062,
    n_selected=3,
    n_confirmed=2,
    n_selected_logprob=7,
    n_confirmed_logprob=4,
    minimum_detectable=0.0138,
    fewest_for_equivalence=1_398,
    selected_on="stories:validation",
    n_selecting=1_319,
    selected_sha256=HASHES["data"],
    confirmed_on="stories:confirmation",
    n_confirming=1_283,
    confirmed_sha256=HASHES["model"],
    n_correct_confirming=1_172,
    seconds=9.37,
)
"""fewer problems than equivalence takes, so that the page says it"""
FOLDS_SELECTION = replace(
    SELECTION,
    correction="max-t",
    n_untested=0,
    minimum_detectable=None,
    fewest_for_equivalence=598,
    confirmed_on="folds",
    n_confirming=None,
)
UNCONFIRMED_SELECTION = replace(
    SELECTION,
    correction="bh",
    n_untested=1,
    n_tested=1,
    n_confirmed=None,
    n_confirmed_logprob=None,
    confirmed_on=None,
)


def confirmation(number: int, confirmed: bool | None, with_fresh: bool = True) -> Confirmation:
    """How something selected came out; all numbers follow from one."""
    value = -0.00731 * number
    return Confirmation(
        n=1_283,
        n_broken=10 + number,
        n_fixed=number,
        accuracy=Estimate(value, value - 0.0051, value + 0.0062, p_value=0.0011 * number, p_adjusted=0.0037 * number),
        logprob=Estimate(value * 5, None, None, p_value=0.0019 * number, p_adjusted=0.0043 * number),
        confirmed=confirmed,
        confirmed_logprob=True,
        power=None if confirmed is None else 0.8123 - 0.0456 * number,
        p_equivalence=0.9,
        fresh=Estimate(value - 0.0013, value - 0.009, value + 0.004, p_value=0.02) if with_fresh else None,
        n_fresh=1_140 if with_fresh else None,
    )


AGREEMENT = Agreement(
    site=SITE,
    steps=8,
    n=53,
    spearman=0.8142,
    kendall=0.6475,
    same_sign=0.7736,
    recall=(Recall(k=5, share=0.6, by_chance=0.0943), Recall(k=10, share=0.7, by_chance=0.1887)),
    by_firing=TrivialRanking(
        spearman=0.4823,
        kendall=0.3317,
        recall=(Recall(k=5, share=0.2, by_chance=0.0943), Recall(k=10, share=0.4, by_chance=0.1887)),
    ),
    worst=(
        Misjudged(feature=332, predicted=-0.152, measured=0.0437, rank_predicted=2, rank_measured=19),
        Misjudged(feature=449, predicted=0.00781, measured=-0.264, rank_predicted=41, rank_measured=1),
    ),
)
SCREEN = Screen(
    kind="ablate",
    site=SITE,
    model="codi-mini",
    sae="codi-mini/L14.P3",
    data="stories:validation",
    n_problems=1_319,
    n_correct=1_153,
    seed=14,
    rows=(
        concluded(screen_row(162, 1), "changed", confirmation(3, confirmed=True)),
        DEAD_ROW,
        concluded(screen_row(332, 4), "unresolved", confirmation(5, confirmed=False)),
        concluded(screen_row(449, 10), "equivalent", confirmation(2, confirmed=None)),
    ),
    counts=COUNTS,
    environment=ENVIRONMENT,
    sites=(ScreenSite(site=SITE, sae="codi-mini/L14.P3", sae_sha256=HASHES["sae"], n_features=4, n_living=3),),
    pairs=(
        replace(
            pair_row(162, 332, 1),
            additivity="changed",
            selected=True,
            confirmation=confirmation(4, confirmed=True, with_fresh=False),
        ),
        pair_row(332, 449, 2),
    ),
    selection=SELECTION,
    pair_selection=replace(SELECTION, n_selected=1, n_confirmed=1, n_tested=1, n_untested=1),
)
_SITES = (Site(9, 2), SITE, Site(15, 6, "mlp_out"))
SITES_SCREEN = replace(
    SCREEN,
    rows=tuple(screen_row(162 + i, number=3 + 3 * i, site=site) for i, site in enumerate(_SITES)),
    sites=tuple(
        ScreenSite(site=site, sae=f"sae-{i}", sae_sha256=HASHES["sae"], n_features=60 + i, n_living=50 + i)
        for i, site in enumerate(_SITES)
    ),
    pairs=(),
    selection=FOLDS_SELECTION,
    pair_selection=None,
)
SITES_AGREEMENTS = tuple(
    replace(
        AGREEMENT,
        site=site,
        n=53 + i,
        spearman=spearman,
        kendall=0.6475 + 0.1 * i,
        same_sign=0.7736 + 0.1 * i,
        recall=tuple(Recall(k=k, share=0.3 + 0.01 * k + 0.05 * i, by_chance=k / 57) for k in (5, 10, 20, 50)[: 2 + i]),
    )
    for i, (site, spearman) in enumerate(zip(_SITES, (0.8142, -0.3142, None), strict=True))
)


# A curve and maps


def curve_point(n: int, number: int) -> CurvePoint:
    return CurvePoint(
        n=n,
        accuracy=0.9123 - 0.0321 * number,
        effect=replace(arm_effect(number), conclusion="changed" if number % 2 else "equivalent"),
        latents=0.37 * number,
        norm=2.46 * number,
    )


def set_comparison(n: int, number: int) -> SetComparison:
    value = -0.0213 * number
    return SetComparison(
        n=n,
        n_near=number,
        latents_median=1.23 * number,
        norm_median=4.56 * number,
        difference=Estimate(value, value - 0.0101, value + 0.0202, p_value=0.0031, p_adjusted=0.0047 * number**3),
        rank_p=0.25,
    )


CURVE = AblationCurve(
    site=SITE,
    order="attribution",
    model="codi-mini",
    sae="codi-mini/L14.P3",
    data="stories:validation",
    n_problems=1_319,
    n_correct=1_153,
    n_living=53,
    seed=15,
    features=tuple(range(53)),
    top=(curve_point(1, 7), curve_point(8, 9), curve_point(53, 12)),
    random=(
        (curve_point(1, 2), curve_point(8, 13), curve_point(53, 12)),
        (curve_point(1, 3), curve_point(8, 4), curve_point(53, 12)),
        (curve_point(1, 5), curve_point(8, 6), curve_point(53, 12)),
    ),
    counts=COUNTS,
    environment=ENVIRONMENT,
    comparisons=(set_comparison(1, 2), set_comparison(8, 3)),
    ranked_on="stories:sae",
    ranked_sha256=HASHES["data"],
    selection=UNCONFIRMED_SELECTION,
)
FOLDS_CURVE = replace(
    CURVE,
    data="problems.jsonl, fold 2 of 2",
    ranked_on="problems.jsonl, fold 1 of 2",
    comparisons=(),
    random=(),
    exchanged=replace(
        CURVE,
        data="problems.jsonl, fold 1 of 2",
        ranked_on="problems.jsonl, fold 2 of 2",
        top=CURVE.top[:1],
        random=(),
        comparisons=(),
    ),
)


def map_cells(path: str, start: int) -> tuple[MapCell, ...]:
    """Two layers and the thoughts by two positions; from the last of them no path leads to the answer."""
    places = (Site(0, 0), Site(0, 3), Site(14, 0), SITE, Site(None, 0, "thought"), Site(None, 3, "thought"))
    cells = [
        MapCell(
            site=site,
            propagate=path,
            n_replaced=1,
            effect=replace(arm_effect(start + i), conclusion=("changed", "unresolved")[i % 2]),
            selected=i < 3,
            selected_logprob=i > 3,
            # the third is selected and not confirmed, and has no star
            confirmation=confirmation(start + i, confirmed=i < 2) if i < 3 else None,
        )
        for i, site in enumerate(places[:-1])
    ]
    return (*cells, MapCell(site=places[-1], propagate=path, n_replaced=0, note="nothing reads it"))


MAP = ThoughtMap(
    kind="mean",
    cumulative=False,
    direction=None,
    propagate="both",
    model="codi-mini",
    data="stories:validation",
    n_problems=1_319,
    n_correct=1_153,
    seed=16,
    cells=map_cells("both", 6),
    splits=(),
    counts=COUNTS,
    environment=ENVIRONMENT,
    selection=SELECTION,
)
CONTEXTS_MAP = replace(
    MAP,
    later="each",
    cells=tuple(replace(cell, n_correct_before=None if cell.note else 1_153) for cell in MAP.cells),
    contexts=tuple(
        replace(cell, later=later, n_correct_before=None if cell.note else right)
        for later, start, right in (("mean", 9, 1_019), ("only", 12, 731))
        for cell in map_cells("both", start)
    ),
)
CUMULATIVE_MAP = replace(
    MAP,
    kind="zero",
    cumulative=True,
    direction="upto",
    propagate="cache",
    cells=map_cells("cache", 6),
    selection=UNCONFIRMED_SELECTION,
)
SPLIT_MAP = replace(
    MAP,
    propagate="split",
    cells=map_cells("both", 1) + map_cells("cache", 6) + map_cells("recurrence", 11),
    splits=tuple(
        PathSplit(
            site=site,
            accuracy=interaction(0.0121 * i, -0.0232, 0.0343, 0.0454 * i, 0.0565 * i),
            logprob=interaction(-0.0676 * i, -0.0787 * i, 0.0898 * i, 0.0119 * i, 0.0223 * i),
            additivity=("changed", "unresolved")[i - 1],
            selected=i == 1,
            confirmation=confirmation(4, confirmed=True) if i == 1 else None,
        )
        for i, site in enumerate((Site(0, 3), SITE), 1)
    ),
    split_selection=replace(SELECTION, n_tested=2, n_untested=0, n_selected=1, n_confirmed=1),
)
