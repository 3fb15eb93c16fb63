"""The screen against the engine, one feature at a time, and its corrections against scipy."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, false_discovery_control

from codi_int.errors import ConfigError, FeatureError
from codi_int.interventions.edits.basic import Ablate, Amplify
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.evidence.families import adjust
from codi_int.interventions.evidence.family import Flips
from codi_int.interventions.screens import groups
from codi_int.interventions.screens.additivity import PairRow
from codi_int.interventions.screens.screen import Checkpoint, Screen, ScreenRow, run_again, run_screen
from codi_int.interventions.screens.sides import SelectionPlan, take_sides
from codi_int.model.hooked import CodiModel
from codi_int.records import table_row
from codi_int.sae import TopKSAE
from codi_int.types import Problem, Site

SITE, OTHER = Site(2, 3), Site(1, 4)
SaeMaker = Callable[[CodiModel, Site], TopKSAE]


@pytest.fixture(scope="module")
def right(llama: CodiModel, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """The problems, with the model's own answers as the truth: ablations can then break some."""
    answers = llama.answer(problems)
    return tuple(p if a.answer is None else replace(p, answer=a.answer) for p, a in zip(problems, answers, strict=True))


@pytest.fixture(scope="module")
def engine(llama: CodiModel, sae_at: SaeMaker) -> FeatureInterventionEngine:
    sae = sae_at(llama, SITE)
    sae.W_enc.data[:, 31] = 0.0  # one that never fires
    return FeatureInterventionEngine(llama, {SITE: sae})


@pytest.fixture(scope="module")
def screen(engine: FeatureInterventionEngine, right: tuple[Problem, ...]) -> Screen:
    return run_screen(engine, right)


@pytest.mark.parametrize("feature", [0, 4, 17])
def test_a_row_is_what_the_engine_says_of_that_feature(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...], screen: Screen, feature: int
) -> None:
    row, effect = screen.rows[feature], engine.run(Ablate(feature), right, controls=0).effect
    assert row.feature == feature
    assert effect.logprob is not None
    for name in ("n_touched", "n_broken", "n_fixed", "n_answer_changed", "estimate", "low", "high", "p_value"):
        assert getattr(row, name) == pytest.approx(getattr(effect, name), rel=1e-12), name
    # rows of all features share chunks, and another shape rounds in another way
    assert row.logprob == pytest.approx(effect.logprob.estimate, abs=3e-5)


def test_some_features_break_answers_here(screen: Screen) -> None:
    assert sum(row.n_broken for row in screen.rows) > 5


def test_a_dead_feature_has_no_p_value_and_no_part_in_the_family(screen: Screen) -> None:
    dead = screen.rows[31]
    assert (dead.n_touched, dead.p_value, dead.p_adjusted, dead.rank) == (0, None, None, None)


def test_p_values_are_adjusted_over_all_that_touch_enough(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...], screen: Screen
) -> None:
    tested = [row for row in screen.rows if row.testable]
    assert 10 < len(tested) < 31
    supports = [np.unique([binomtest(k, m).pvalue for k in range(m + 1)]) for m in (_flips(row) for row in tested)]
    expected = adjust([row.p_value for row in tested], "discrete-bh", supports=supports)
    assert [row.p_adjusted for row in tested] == pytest.approx(expected)
    assert all(row.p_adjusted is None for row in screen.rows if not row.testable)
    plain = run_screen(engine, right, selection=SelectionPlan(correction="bh"))
    expected = false_discovery_control([row.p_value for row in tested]).tolist()
    assert [row.p_adjusted for row in plain.rows if row.testable] == pytest.approx(expected)


def _flips(row: ScreenRow) -> int:
    """Sign flips of clusters: here every problem has a chain of its own."""
    return row.n_broken + row.n_fixed


def test_what_confirms_is_what_the_engine_finds_there(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...]
) -> None:
    sides = take_sides(right[:12], SelectionPlan(confirm=right[12:]))
    keys = [(SITE, 17), (SITE, 4)]
    found = run_again(engine, keys, sides, Ablate, None)
    assert list(found.changes) == keys
    for (_, feature), change in found.changes.items():
        effect = engine.run(Ablate(feature), right[12:], controls=0).effect
        assert (change.counts.broken, change.counts.fixed) == (effect.n_broken, effect.n_fixed)
        assert effect.logprob is not None
        assert change.logprob.mean() == pytest.approx(effect.logprob.estimate, abs=3e-5)
    assert found.n_correct == sum(o.correct for o in engine.site_context(right[12:]).clean.outcomes)


def test_a_screen_says_what_it_selected_on_what(engine: FeatureInterventionEngine, right: tuple[Problem, ...]) -> None:
    found = run_screen(engine, right[:12], features=[4, 17, 31], selection=SelectionPlan(confirm=right[12:]))
    selection = found.selection
    assert selection is not None
    assert (selection.n_selecting, selection.n_confirming, selection.n_selected) == (12, 12, 0)
    assert (selection.selected_on, selection.confirmed_on) == ("unnamed", "unnamed")
    assert {row.feature: row.conclusion for row in found.rows}[31] == "untested"
    # folds keep the effect on either of them, so that a screen that was stopped can go on
    in_folds = run_screen(engine, right, features=[4, 17])
    for row in in_folds.rows:
        assert sum(fold.n_broken for fold in row.folds) == row.n_broken
        assert sum(fold.n_touched for fold in row.folds) == row.n_touched
        assert len(row.flips.broken) == row.n_broken
    assert in_folds.selection is not None
    assert in_folds.selection.confirmed_on == "folds"


def test_features_picked_from_another_screen_bring_its_family(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...], screen: Screen
) -> None:
    plan = SelectionPlan(correction="bh")
    alone = run_screen(engine, right, features=[17], selection=plan)
    picked = run_screen(engine, right, features=[17], selection=plan, family=screen)
    whole = run_screen(engine, right, selection=plan)
    assert picked.rows[0].p_adjusted == whole.rows[17].p_adjusted != alone.rows[0].p_adjusted
    assert len(picked.rows) == 1


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"make_edit": lambda feature: Amplify(feature, factor=2.0)},
            "another edit than this one: ablate, not amp",
        ),
        ({"selection": SelectionPlan(bound=0.01)}, "another bound than this one: 0.005, not 0.01"),
        ({"selection": SelectionPlan(confirm="folds")}, "family is a screen that was not measured in folds"),
        ({"data": "of other problems"}, "with another data than this one"),
        ({"model": "of other weights"}, "with another model than this one: of other wei, not "),
        ({"sae": "of another SAE"}, f"with another SAE at {SITE} than this one: of another S, not "),
        ({"site": OTHER}, f"a screen of other sites than {SITE}: {OTHER}"),
        ({"kept": "long ago"}, "was kept before screens declared a bound"),
        ({"later": "clean"}, "with another --later than this one: clean, not free"),
    ],
)
def test_a_screen_that_is_no_family_of_this_one_is_refused(
    engine: FeatureInterventionEngine,
    right: tuple[Problem, ...],
    screen: Screen,
    settings: dict[str, Any],
    says: str,
) -> None:
    family = replace(screen, rows=tuple(replace(row, folds=()) for row in screen.rows))
    settings = dict(settings)
    if (data := settings.pop("data", None)) is not None:
        family = replace(family, environment=replace(family.environment, data_sha256=data))
    if (model := settings.pop("model", None)) is not None:
        family = replace(family, environment=replace(family.environment, model_sha256=model))
    if (sae := settings.pop("sae", None)) is not None:
        family = replace(family, sites=(replace(family.sites[0], sae_sha256=sae),))
    if (site := settings.pop("site", None)) is not None:
        family = replace(family, sites=(replace(family.sites[0], site=site),))
    if (later := settings.pop("later", None)) is not None:
        family = replace(family, later=later)
    if settings.pop("kept", None) is not None:
        family = replace(family, selection=None)
    plan = {"selection": SelectionPlan(confirm="none")} | settings
    with pytest.raises(ConfigError) as error:
        run_screen(engine, right, features=[17], family=family, **plan)
    assert says in str(error.value)
    assert len(str(error.value).splitlines()) == 2


def test_a_family_of_which_the_same_features_changed_other_answers_is_told(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...], screen: Screen
) -> None:
    rows = tuple(replace(row, flips=Flips((0,), (1,))) if row.feature == 17 else row for row in screen.rows)
    plan = SelectionPlan(confirm="none")
    found = run_screen(engine, right, features=[4, 17], selection=plan, family=replace(screen, rows=rows))
    assert [note for note in found.notes if "family" in note] == [
        "1 of the 2 features that the family's screen has as well changed other answers there, feature 17 among them: "
        "was it run by another splice or path?"
    ]
    same = run_screen(engine, right, features=[4, 17], selection=plan, family=screen)
    assert not any("family" in note for note in same.notes)


def test_pairs_that_no_feature_touches_are_not_run(screen: Screen) -> None:
    assert screen.counts.suffix_rows == sum(row.n_touched for row in screen.rows)
    assert screen.counts.skipped + screen.counts.suffix_rows == 32 * 24


def test_ranked_puts_the_smallest_p_first(screen: Screen) -> None:
    p_values = [1.0 if row.p_value is None else row.p_value for row in screen.ranked()]
    assert p_values == sorted(p_values)


def test_an_interrupted_screen_goes_on_where_it_stopped(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "ROWS_PER_GROUP", 60)
    at_once = run_screen(engine, right)
    kept: list[Sequence[ScreenRow]] = []

    def keep(rows: Sequence[ScreenRow], pairs: Sequence[PairRow]) -> None:
        kept.append(rows)
        if len(kept) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_screen(engine, right, checkpoint=Checkpoint(keep=keep))
    half = kept[-1]
    assert 0 < len(half) < 32
    whole = run_screen(engine, right, checkpoint=Checkpoint(half))
    assert whole.counts.suffix_rows < at_once.counts.suffix_rows
    assert whole.rows == at_once.rows


def test_other_edits_can_be_screened(engine: FeatureInterventionEngine, right: tuple[Problem, ...]) -> None:
    found = run_screen(engine, right, features=[4, 17], make_edit=lambda f: Amplify(f, 5.0))
    effect = engine.run(Amplify(17, 5.0), right, controls=0).effect
    assert found.kind == "amplify"
    assert [row.feature for row in found.rows] == [4, 17]
    assert found.rows[1].estimate == effect.estimate


def test_a_feature_that_does_not_exist_is_refused(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...]
) -> None:
    with pytest.raises(FeatureError, match="0 to 31"):
        run_screen(engine, right, features=[32])


@pytest.fixture(scope="module")
def two(llama: CodiModel, sae_at: SaeMaker, engine: FeatureInterventionEngine) -> FeatureInterventionEngine:
    return FeatureInterventionEngine(llama, {SITE: engine.saes[SITE], OTHER: sae_at(llama, OTHER)})


@pytest.fixture(scope="module")
def double(two: FeatureInterventionEngine, right: tuple[Problem, ...]) -> Screen:
    return run_screen(two, right, sae_name={SITE: "one", OTHER: "another"})


def test_several_sites_are_screened_as_each_alone(
    two: FeatureInterventionEngine, right: tuple[Problem, ...], double: Screen, screen: Screen
) -> None:
    alone = run_screen(two, right, site=OTHER)
    assert [(row.site, row.feature) for row in double.rows] == [(s, f) for s in (SITE, OTHER) for f in range(32)]

    def without_family(rows: Iterable[ScreenRow]) -> list[dict]:
        family = {"p_adjusted", "logprob_p_adjusted", "p_equivalence_adjusted", "conclusion"}
        return [{k: v for k, v in table_row(row).items() if k not in family} for row in rows]

    assert without_family(double.rows) == without_family((*screen.rows, *alone.rows))
    assert (double.site, double.sae) == (SITE, "one")
    assert [(s.site, s.sae, s.n_features) for s in double.sites] == [(SITE, "one", 32), (OTHER, "another", 32)]
    assert double.sites[0].n_living == sum(row.n_touched > 0 for row in screen.rows)


def test_the_family_is_all_features_of_all_sites(double: Screen, screen: Screen) -> None:
    tested = [row for row in double.rows if row.testable]
    supports = [np.unique([binomtest(k, m).pvalue for k in range(m + 1)]) for m in (_flips(row) for row in tested)]
    expected = adjust([row.p_value for row in tested], "discrete-bh", supports=supports)
    assert [row.p_adjusted for row in tested] == pytest.approx(expected)
    of_one = [row.p_adjusted for row in screen.rows if row.testable]
    assert [row.p_adjusted for row in tested][: len(of_one)] != of_one


def test_features_can_be_named_site_by_site(two: FeatureInterventionEngine, right: tuple[Problem, ...]) -> None:
    found = run_screen(two, right, features={OTHER: [5, 2]})
    assert [(row.site, row.feature) for row in found.rows] == [(OTHER, 2), (OTHER, 5)]


def test_two_sites_are_taken_up_again(
    two: FeatureInterventionEngine, right: tuple[Problem, ...], double: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Sequence[ScreenRow]] = []

    def keep(rows: Sequence[ScreenRow], pairs: Sequence[PairRow]) -> None:
        kept.append(rows)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_screen(two, right, checkpoint=Checkpoint(keep=keep))
    assert {row.site for row in kept[0]} == {SITE}
    again = run_screen(two, right, checkpoint=Checkpoint(kept[0]))
    assert again.rows == double.rows
    assert again.counts.pairs == 32 * 24


def test_a_replacing_screen_tests_no_feature_that_never_fires(
    llama: CodiModel, engine: FeatureInterventionEngine, right: tuple[Problem, ...]
) -> None:
    """Every problem is run, for the reconstruction differs from the residual; the dead feature is still not tested."""
    replacing = FeatureInterventionEngine(llama, engine.saes, splice="replace")
    dead, alive = run_screen(replacing, right, features=[31, 4]).rows[::-1]
    assert (dead.feature, dead.firing_rate, dead.n_touched) == (31, 0.0, 0)
    assert (dead.p_value, dead.logprob_p, dead.p_adjusted, dead.logprob_p_adjusted) == (None, None, None, None)
    # what the reconstruction costs is no effect of a feature that never fires
    assert (dead.low, dead.estimate, dead.high, dead.logprob) == (0.0, 0.0, 0.0, 0.0)
    assert alive.p_value is not None
    assert 0 < alive.n_touched == round(alive.firing_rate * len(right))
