"""A screen as people read it: the strongest features, pairs, and how good attribution was."""

from collections.abc import Sequence

from rich.console import Group, RenderableType

from codi_int.cli._literal import Table, Text
from codi_int.cli._tables import nats, p_text, points, table
from codi_int.interventions.screens.additivity import PairRow
from codi_int.interventions.screens.agreement import TOP, Agreement
from codi_int.interventions.screens.screen import Screen, ScreenRow

ALPHA = 0.05
IN_FULL = 2
"""so many sites' attribution is shown in full; of more, each has a row"""


def screen_page(screen: Screen, agreements: Sequence[Agreement], top: int) -> Group:
    """The strongest effects, how many there are, and what was asked for besides."""
    # `[:negative]` would drop from the end: --top 0 shows none, and nothing below it is to show nearly all
    shown = screen.ranked()[: max(top, 0)]
    parts: list[RenderableType] = [_head(screen), "", _features(shown, several=len(screen.sites) > 1), ""]
    parts.append(Text(_verdict(screen), style="bold"))
    if screen.pairs:
        parts += ["", _pairs(_strongest(screen.pairs)[: max(top, 0)]), "", Text(_pairs_verdict(screen), style="bold")]
    if len(agreements) > IN_FULL:
        parts += ["", _agreements(agreements)]
    else:
        parts += [part for found in agreements for part in ("", *_agreement(found))]
    return Group(*parts, "", _footer(screen))


def _head(screen: Screen) -> Text:
    one = len(screen.sites) == 1
    place = str(screen.site) if one else f"{len(screen.sites)} sites"
    head = Text(f"{screen.kind} each of {len(screen.rows):,} features at {place} of {screen.model}", style="bold")
    saes = f"SAE {screen.sae}" if one else f"sites {', '.join(str(s.site) for s in screen.sites)}"
    rest = f"\n{screen.n_problems:,} problems of {screen.data}, {screen.n_correct:,} right · {saes}"
    return head.append(f"{rest} · seed {screen.seed}", style="not bold")


def _verdict(screen: Screen) -> str:
    # a feature that fires on no problem was never tested; counting it as "no effect" would flatter the screen
    alive = [row for row in screen.rows if row.n_touched]
    answers = sum(_found(row.p_adjusted) for row in alive)
    logprobs = sum(_found(row.logprob_p_adjusted) for row in alive)
    return (
        f"{len(screen.rows) - len(alive)} features never fire. Of the {len(alive)} that do, {answers} change "
        f"accuracy and {logprobs} the clean answer's log-probability, at {ALPHA:.0%} false discoveries "
        f"(Benjamini-Hochberg over all that fire{', all sites together' if len(screen.sites) > 1 else ''})."
    )


def _features(rows: Sequence[ScreenRow], several: bool) -> Table:
    names = ("feature", "fires", "broken", "fixed", "accuracy", "interval", "p (BH)", "nats", "p (BH)", "rank")
    out = table(*(("site", *names) if several else names))
    if several:
        out.padding = (0, 2, 0, 0)
    for r in rows:
        out.add_row(
            *([str(r.site)] if several else []),
            str(r.feature),
            f"{100 * r.firing_rate:.1f} %",
            str(r.n_broken),
            str(r.n_fixed),
            points(r.estimate),
            f"{points(r.low)} to {points(r.high)}",
            p_text(r.p_adjusted),
            f"{r.logprob:+.4f}",
            p_text(r.logprob_p_adjusted),
            "" if r.rank is None else f"{100 * r.rank:.0f} %",
        )
    return out


def _strongest(pairs: Sequence[PairRow]) -> list[PairRow]:
    """Those first whose parts add up least."""
    # by log-probability: accuracy's interaction is zero for nearly every pair, so ranking by it would rank ties
    return sorted(pairs, key=lambda r: -abs(r.interaction_logprob.estimate))


def _pairs(rows: Sequence[PairRow]) -> Table:
    names = ("both fire", "joint", "a", "b", "joint - (a + b)", "p (BH)", "nats", "joint - (a + b)", "p (BH)")
    out = table("pair", *names)
    out.padding = (0, 2, 0, 0)
    for r in rows:
        accuracy, logprob = r.interaction, r.interaction_logprob
        out.add_row(
            f"{r.a},{r.b}",
            f"{r.n_both:,}",
            points(r.estimate),
            points(r.estimate_a),
            points(r.estimate_b),
            points(accuracy.estimate),
            p_text(accuracy.p_adjusted),
            nats(r.logprob),
            nats(logprob.estimate),
            p_text(logprob.p_adjusted),
        )
    return out


def _pairs_verdict(screen: Screen) -> str:
    answers = sum(_found(row.interaction.p_adjusted) for row in screen.pairs)
    logprobs = sum(_found(row.interaction_logprob.p_adjusted) for row in screen.pairs)
    # exact and not an estimate: where the two never fire together, the joint edit is on every problem one of the single
    apart = sum(row.n_both == 0 for row in screen.pairs)
    return (
        f"Of {len(screen.pairs)} pairs, {answers} depart from the sum of their parts in accuracy and {logprobs} in "
        f"log-probability, at {ALPHA:.0%} false discoveries over the pairs; {apart} never fire on the same "
        f"problem and add up exactly."
    )


def _agreement(found: Agreement) -> list[RenderableType]:
    """One site's attribution beside its exact effects."""
    kind = "gradient x activation" if found.steps == 1 else f"integrated gradients ({found.steps} steps)"
    head = f"{kind} against the exact effects at {found.site}: {found.n} features that fire, by size of nats"
    correlations = f"Spearman {_share(found.spearman)}, Kendall {_share(found.kendall)}"
    line = f"{correlations}, same sign {100 * found.same_sign:.0f} %"
    # recall beside what a random order of as many would find: 50 % of the top 20 is little among 30 features
    recall = table("strongest k", "found among its top k", "by chance")
    for one in found.recall:
        recall.add_row(str(one.k), f"{100 * one.share:.0f} %", f"{100 * one.by_chance:.0f} %")
    worst = table("furthest off", "predicted", "measured", "place predicted", "place measured")
    for row in found.worst:
        worst.add_row(
            str(row.feature), nats(row.predicted), nats(row.measured), str(row.rank_predicted), str(row.rank_measured)
        )
    return [Text(head, style="bold"), Text(line), *([recall] if found.recall else []), "", worst]


def _agreements(found: Sequence[Agreement]) -> Table:
    """A row for each of many sites."""
    out = table("attribution by site", "features", "Spearman", "Kendall", "same sign", *(f"top {k}" for k in TOP))
    out.caption = "top k: of the k strongest by ablation, how many are among the k strongest by attribution"
    out.caption_justify = "left"
    for one in found:
        shares = {recall.k: f"{100 * recall.share:.0f} %" for recall in one.recall}
        out.add_row(
            str(one.site),
            str(one.n),
            _share(one.spearman),
            _share(one.kendall),
            f"{100 * one.same_sign:.0f} %",
            *(shares.get(k, "") for k in TOP),
        )
    return out


def _footer(screen: Screen) -> Text:
    c, env = screen.counts, screen.environment
    work = f"{c.pairs:,} pairs: {c.skipped:,} proved unchanged, {c.suffix_rows:,} run from the site on, {c.rerun} twice"
    return Text(f"{work} · {env.seconds:.1f} s on {env.threads} threads", style="dim")


def _found(p_value: float | None) -> bool:
    return p_value is not None and p_value < ALPHA


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
