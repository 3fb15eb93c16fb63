"""A screen as people read it: the strongest features, what was confirmed, pairs, and attribution."""

from collections.abc import Sequence

from rich.console import RenderableType

from codi_int.cli._fitting import Column, FittedTable, Page, table
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, fixed, interval_text, nats, p_text, percentage, points
from codi_int.cli._selection_pages import (
    additivity_words,
    conclusion_words,
    confirmation_table,
    confirmation_title,
    family_words,
    selected_rows,
)
from codi_int.cli._tables import later_words, note_lines
from codi_int.interventions.screens.additivity import PairRow
from codi_int.interventions.screens.agreement import TOP, Agreement
from codi_int.interventions.screens.screen import Screen, ScreenRow

IN_FULL = 2
"""so many sites' attribution is shown in full; of more, each has a row"""


def screen_page(screen: Screen, agreements: Sequence[Agreement], top: int, more: Sequence[RenderableType] = ()) -> Page:
    """The strongest effects, how many there are, and what was asked for besides; `more` comes before the last line."""
    # `[:negative]` would drop from the end: --top 0 shows none, and nothing below it is to show nearly all
    shown = screen.ranked()[: max(top, 0)]
    several = len(screen.sites) > 1
    parts: list[RenderableType] = [_head(screen), "", _features(shown, several), "", *_findings(screen, several)]
    parts += note_lines(screen.notes)
    if screen.pairs:
        parts += ["", _pairs(_strongest(screen.pairs)[: max(top, 0)]), "", *_pair_findings(screen)]
    if len(agreements) > IN_FULL:
        parts += ["", _agreements(agreements)]
    else:
        parts += [part for found in agreements for part in ("", *_agreement(found))]
    return Page(*parts, *more, "", _footer(screen))


def _head(screen: Screen) -> Text:
    one = len(screen.sites) == 1
    place = str(screen.site) if one else f"{len(screen.sites)} sites"
    head = Text(
        f"{screen.kind} each of {counted(len(screen.rows), 'feature')} at {place} of {screen.model}", style="bold"
    )
    saes = f"SAE {screen.sae}" if one else f"sites {', '.join(str(s.site) for s in screen.sites)}"
    rest = f"\n{counted(screen.n_problems, 'problem')} of {screen.data}, {screen.n_correct:,} right · {saes}"
    return head.append(f"{rest}{later_words(screen.later)} · seed {screen.seed}", style="not bold")


def _findings(screen: Screen, several: bool) -> list[RenderableType]:
    """What was selected, as it came out where it was confirmed, and the verdict."""
    selection = screen.selection
    # a feature that fires on no problem was never tested; counting it as "no effect" would flatter the screen
    alive = [row for row in screen.rows if row.n_touched]
    dead = len(screen.rows) - len(alive)
    words = f"{counted(dead, 'feature never fires', 'features never fire')}."
    if selection is None:
        return [Text(words, style="bold")]
    parts: list[RenderableType] = []
    if again := selected_rows(alive):
        headings = [*(["site"] if several else []), "feature"]
        names = [(*([str(row.site)] if several else []), str(row.feature)) for row in again]
        title = Text(confirmation_title(selection), style="bold")
        parts += [title, confirmation_table(again, names, headings), ""]
    family = family_words(selection, "feature", "features")
    return [
        *parts,
        Text(f"{words} {family}", style="bold"),
        Text(conclusion_words(alive, selection), style="bold"),
    ]


def _features(rows: Sequence[ScreenRow], several: bool) -> FittedTable:
    out = table(
        *(["site"] if several else []),
        "feature",
        Column("fires", rank=4),
        Column("broken", rank=3),
        Column("fixed", rank=3),
        "accuracy",
        Column("interval", rank=2, name="interval of accuracy"),
        "p (family)",
        Column("nats", rank=1),
        Column("nats p (family)", rank=2),
        Column("rank", rank=5),
        Column("conclusion", rank=1, text=True),
    )
    for r in rows:
        out.add_row(
            *([str(r.site)] if several else []),
            str(r.feature),
            f"{percentage(r.firing_rate)} %",
            f"{r.n_broken:,}",
            f"{r.n_fixed:,}",
            points(r.estimate),
            f"{points(r.low)} to {points(r.high)}",
            p_text(r.p_adjusted),
            fixed(r.logprob, 4, "+"),
            p_text(r.logprob_p_adjusted),
            "" if r.rank is None else f"{percentage(r.rank, 0)} %",
            r.conclusion or "-",
        )
    return out


def _strongest(pairs: Sequence[PairRow]) -> list[PairRow]:
    """Those first whose parts add up least."""
    # by log-probability: accuracy's interaction is zero for nearly every pair, so ranking by it would rank ties
    return sorted(pairs, key=lambda r: -abs(r.interaction_logprob.estimate))


def _pairs(rows: Sequence[PairRow]) -> FittedTable:
    out = table(
        "pair",
        Column("both fire", rank=4),
        Column("joint", rank=1, name="joint accuracy"),
        Column("a", rank=3, name="a and b alone"),
        Column("b", rank=3, name="a and b alone"),
        "joint - (a + b)",
        Column("interval", rank=2, name="interval of joint - (a + b)"),
        "p (family)",
        Column("nats", rank=1, name="joint nats"),
        "nats - (a + b)",
        Column("nats p (family)", rank=1),
        Column("conclusion", text=True),
    )
    for r in rows:
        accuracy, logprob = r.interaction, r.interaction_logprob
        out.add_row(
            f"{r.a},{r.b}",
            f"{r.n_both:,}",
            points(r.estimate),
            points(r.estimate_a),
            points(r.estimate_b),
            points(accuracy.estimate),
            interval_text(accuracy.low, accuracy.high, points),
            p_text(accuracy.p_adjusted),
            nats(r.logprob),
            nats(logprob.estimate),
            p_text(logprob.p_adjusted),
            r.additivity or "-",
        )
    return out


def _pair_findings(screen: Screen) -> list[RenderableType]:
    """Pairs that were selected, where they were confirmed, and the verdict on all."""
    parts: list[RenderableType] = []
    if (again := selected_rows(screen.pairs)) and screen.pair_selection is not None:
        title = f"departures: {confirmation_title(screen.pair_selection)}"
        names = [(f"{row.a},{row.b}",) for row in again]
        parts += [Text(title, style="bold"), confirmation_table(again, names, ["pair"]), ""]
    return [*parts, Text(_pairs_verdict(screen), style="bold")]


def _pairs_verdict(screen: Screen) -> str:
    # exact and not an estimate: where the two never fire together, the joint edit is on every problem one of the single
    apart = sum(row.n_both == 0 for row in screen.pairs)
    never = (
        f"{counted(apart, 'pair never fires', 'pairs never fire')} on the same problem and "
        f"{'adds' if apart == 1 else 'add'} up exactly."
    )
    if screen.pair_selection is None:
        return never
    family = family_words(screen.pair_selection, "pair", "pairs")
    words = additivity_words(screen.pairs, screen.pair_selection)
    return f"Departures from the sum of the parts: {family} {words} {never}"


def _agreement(found: Agreement) -> list[RenderableType]:
    """One site's attribution beside its exact effects."""
    kind = "gradient x activation" if found.steps == 1 else f"integrated gradients ({found.steps} steps)"
    features = counted(found.n, "feature that fires", "features that fire")
    head = f"{kind} against the exact effects at {found.site}: {features}, by size of nats"
    correlations = f"Spearman {_share(found.spearman)}, Kendall {_share(found.kendall)}"
    line = f"{correlations}, same sign {percentage(found.same_sign, 0)} %"
    trivial = found.by_firing
    if trivial is not None:
        line += f"; by firing rate alone: Spearman {_share(trivial.spearman)}, Kendall {_share(trivial.kendall)}"
    by_rate = {} if trivial is None else {one.k: f"{percentage(one.share, 0)} %" for one in trivial.recall}
    # recall beside what a random order of as many would find: 50 % of the top 20 is little among 30 features
    recall = table("strongest k", "found among its top k", "by firing rate", "by chance")
    for one in found.recall:
        shares = (f"{percentage(share, 0)} %" for share in (one.share, one.by_chance))
        recall.add_row(str(one.k), next(shares), by_rate.get(one.k, "-"), next(shares))
    places = (Column("place predicted", rank=1), Column("place measured", rank=1))
    worst = table("furthest off", "predicted", "measured", *places)
    for row in found.worst:
        worst.add_row(
            str(row.feature),
            nats(row.predicted),
            nats(row.measured),
            f"{row.rank_predicted:,}",
            f"{row.rank_measured:,}",
        )
    return [Text(head, style="bold"), Text(line), *([recall] if found.recall else []), "", worst]


def _agreements(found: Sequence[Agreement]) -> FittedTable:
    """A row for each of many sites."""
    out = table(
        "attribution by site",
        Column("features", rank=2),
        "Spearman",
        Column("Kendall", rank=3),
        Column("by firing rate", rank=2, name="Spearman by firing rate"),
        Column("same sign", rank=1),
        # the shortest and the longest list last: of several, those between tell least
        *(Column(f"top {k}", rank=1 if k in (TOP[0], TOP[-1]) else 4) for k in TOP),
        caption="top k: of the k strongest by ablation, how many are among the k strongest by attribution",
    )
    for one in found:
        shares = {recall.k: f"{percentage(recall.share, 0)} %" for recall in one.recall}
        out.add_row(
            str(one.site),
            f"{one.n:,}",
            _share(one.spearman),
            _share(one.kendall),
            "-" if one.by_firing is None else _share(one.by_firing.spearman),
            f"{percentage(one.same_sign, 0)} %",
            *(shares.get(k, "") for k in TOP),
        )
    return out


def _footer(screen: Screen) -> Text:
    c, env = screen.counts, screen.environment
    work = f"{c.pairs:,} pairs: {c.skipped:,} proved unchanged, {c.suffix_rows:,} run from the site on"
    spent = f"{fixed(env.seconds, 1)} s on {counted(env.threads, 'thread')}"
    return Text(f"{work}, {c.rerun:,} twice · {spent}", style="dim")


def _share(value: float | None) -> str:
    return "-" if value is None else fixed(value, 2)
