"""Predicted answers as people read them."""

from collections.abc import Sequence

from rich.console import RenderableType

from codi_int.cli._fitting import Column, FittedTable, Page, table
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, fixed, interval_text, nats, p_text, percentage, points
from codi_int.cli._tables import later_words, result_page
from codi_int.interventions.patching.pairs import Pairing
from codi_int.interventions.patching.patch import ValueContrast
from codi_int.interventions.patching.predicted import BECAME, PredictedResult, PredictionControls, PredictionTest


def predicted_page(result: PredictedResult, pairing: Pairing | None = None) -> Page:
    """One experiment with what was predicted for it."""
    parts: list[RenderableType] = [result_page(result)]
    if pairing is not None:
        parts += ["", *_pairs([pairing])]
    if result.prediction is not None:
        parts += ["", *prediction_parts(result.prediction)]
    return Page(*parts)


def contrast_page(
    results: Sequence[PredictedResult], pairings: Sequence[Pairing], contrast: ValueContrast | None
) -> Page:
    """A patch of the same value beside one of another value."""
    head, e = Text("", style="bold"), results[0].experiment
    head.append(f"patch {e.site} of {e.model}: the same value beside another one\n")
    head.append(
        f"{e.data} · SAE {e.sae} · propagate {e.propagate}{later_words(e.later)} · seed {e.seed}", style="not bold"
    )
    parts: list[RenderableType] = [head, "", *_pairs(pairings), "", _side_by_side(results)]
    if contrast is not None:
        parts += ["", _contrast(contrast), "", Text(contrast.verdict, style="bold")]
    for result in results:
        if result.prediction is not None:
            parts += ["", *prediction_parts(result.prediction)]
    # the two run one after the other on the same threads: seconds add up, threads do not
    seconds = sum(result.environment.seconds for result in results)
    threads = counted(results[0].environment.threads, "thread")
    return Page(*parts, "", Text(f"{fixed(seconds, 1)} s on {threads}", style="dim"))


def confirmed_page(pages: Sequence[Page], words: str | None) -> Page:
    """A patch, the same where nothing was selected, and whether that confirms it."""
    parts: list[RenderableType] = []
    for page in pages:
        parts += ["", "", page] if parts else [page]
    if words is not None:
        parts += ["", Text(words, style="bold")]
    return Page(*parts)


def prediction_parts(test: PredictionTest) -> list[RenderableType]:
    """What was predicted, what the answers became, controls, verdict."""
    head = Text(f"prediction: {test.claim}", style="bold")
    head.append(f"\n{_population(test)}", style="not bold")
    parts: list[RenderableType] = [head, "", _became(test)]
    # Where the prediction is also the source's own answer, a hit could mean that the whole answer was copied. Only the
    # other problems tell the two apart, so their count stands beside.
    if test.n_distinct is not None and test.n_distinct < test.n_tested:
        distinct = f"{test.n_hits_distinct:,} of {test.n_distinct:,} where the predicted answer is not the source's own"
        parts.append(Text(f"predicted answers: {distinct}", style="dim"))
    own = test.became_intervals.get(BECAME[0])
    if own is not None and own.design_effect > 1.0:
        what = "pairs" if test.n_distinct is not None else "problems"
        count = f"{test.n_tested:,} {what} count as {test.n_tested / own.design_effect:,.0f} in the interval"
        parts.append(Text(f"predicted answers: {count}, for some share a calculation", style="dim"))
    if test.controls is not None:
        parts += ["", _controls(test, test.controls)]
    return [*parts, "", Text(test.verdict, style="bold")]


def _population(test: PredictionTest) -> str:
    left_out = ", ".join(f"{reason} {count:,}" for reason, count in test.not_predicted.items())
    have = "has" if test.n_predicted == 1 else "have"
    text = f"{test.n_predicted:,} of {counted(test.n, 'problem')} {have} a prediction"
    text += f" ({left_out})" if left_out else ""
    touched = counted(test.n_tested, "is touched", "are touched")
    text += f"; it differs from the true answer on {test.n_informative:,}, of which {touched}.\n"
    if test.n_ambiguous:
        has = counted(test.n_ambiguous, "of the touched ones has", "of the touched ones have")
        text += f"{has} a step whose operand is ambiguous. "
    needed = counted(test.n_needed, "touched problem is", "touched problems are")
    return f"{text}{needed} needed to find a share of {test.assumed_hit_rate:.0%}."


def _became(test: PredictionTest) -> FittedTable:
    out = table("the answer became", "n", "share", f"{test.confidence:.0%} interval")
    for name, count in test.became.items():
        # Wilson and not Wald: shares near 0 and 1 are the rule here, and Wald's interval would leave 0 to 1
        found = test.became_intervals.get(name)
        share = "" if not test.n_tested else f"{percentage(count / test.n_tested)} %"
        interval = "" if found is None else f"{percentage(found.low)} to {percentage(found.high)} %"
        out.add_row(name, f"{count:,}", share, interval, style="bold" if name == "predicted" else None)
    # how often the clean run already gave the predicted answer: a hit rate means nothing without it
    out.add_row("(predicted, before the edit)", f"{test.n_hits_clean:,}", "", "")
    return out


def _controls(test: PredictionTest, controls: PredictionControls) -> FittedTable | Text:
    # controls that touch no tested problem have no hit rate; a row of zeros would read as "controls never hit"
    if not controls.hit_rates or test.hit_rate is None:
        return Text(f"controls ({controls.kind}): none of them touches any of these problems, so there is no p-value")
    out = table(
        f"{counted(len(controls.hit_rates), 'control')}: {controls.kind}",
        "this edit",
        Column("controls' median", rank=1),
        Column("controls' range", rank=3),
        Column("as good", rank=2),
        Column("rank p", rank=1, name="rank among the controls"),
        "edit - controls",
        Column("95% interval", name="interval of the difference"),
    )
    rates = sorted(controls.hit_rates)
    # the mean of the two middle rates, which for an odd number are the same one
    middle = (rates[(len(rates) - 1) // 2] + rates[len(rates) // 2]) / 2
    out.add_row(
        "predicted answers",
        f"{percentage(test.hit_rate)} %",
        f"{percentage(middle)} %",
        f"{percentage(rates[0])} to {percentage(rates[-1])} %",
        f"{controls.n_as_well:,}",
        p_text(controls.p_value),
        "-" if (d := controls.difference) is None else points(d.value),
        "-" if d is None else interval_text(d.low, d.high, points),
    )
    return out


def _pairs(pairings: Sequence[Pairing]) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for pairing in pairings:
        shared = "; ".join(f"{name} {count:,}" for name, count in pairing.matched.items())
        lines.append(Text(f"{pairing.n_pairs:,} {pairing.origin}" + (f": {shared}" if shared else "")))
    return lines


def _side_by_side(results: Sequence[PredictedResult]) -> FittedTable:
    out = table("", "same value", "another value")
    arms = [result.arms for result in results]
    effects = [result.effect for result in results]
    out.add_row("problems patched", *(f"{e.n_touched or 0:,}" for e in effects))
    out.add_row("right before", *(f"{percentage(a['clean'].accuracy, 2)} %" for a in arms))
    out.add_row("right after", *(f"{percentage(a['intervened'].accuracy, 2)} %" for a in arms))
    out.add_row("change, points", *(points(e.estimate) for e in effects))
    out.add_row(f"{effects[0].confidence:.0%} interval", *(f"{points(e.low)} to {points(e.high)}" for e in effects))
    out.add_row("p", *(p_text(e.p_value) for e in effects))
    out.add_row("answers changed", *(f"{e.n_answer_changed or 0:,}" for e in effects))
    logs = [e.logprob for e in effects]
    out.add_row("log-probability of the clean answer, nats", *("-" if g is None else nats(g.estimate) for g in logs))
    spans = ("-" if g is None else interval_text(g.low, g.high, nats) for g in logs)
    out.add_row(f"{effects[0].confidence:.0%} interval of nats", *spans)
    out.add_row("p of nats", *("-" if g is None else p_text(g.p_value) for g in logs))
    return out


def _contrast(contrast: ValueContrast) -> FittedTable:
    """Both patches on the problems that got both."""
    out = table(
        "answers changed",
        "n",
        Column("same value", rank=1, name="answers changed with the same value"),
        Column("another value", rank=1, name="answers changed with another value"),
        "difference, points",
        f"{contrast.confidence:.0%} interval",
        "p",
    )
    interval = f"{points(contrast.low)} to {points(contrast.high)}"
    changed = (f"{contrast.n_changed_same:,}", f"{contrast.n_changed_different:,}")
    shares = (points(contrast.estimate), interval, p_text(contrast.p_value))
    out.add_row("another value - same value", f"{contrast.n:,}", *changed, *shares)
    return out
