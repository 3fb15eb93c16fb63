"""Predicted answers as people read them."""

from collections.abc import Sequence

from rich.console import Group, RenderableType

from codi_int.cli._literal import Table, Text
from codi_int.cli._tables import nats, p_text, points, result_page, table
from codi_int.interventions.patching.pairs import Pairing
from codi_int.interventions.patching.patch import ValueContrast
from codi_int.interventions.patching.predicted import PredictedResult, PredictionControls, PredictionTest, wilson
from codi_int.types import Effect


def predicted_page(result: PredictedResult, pairing: Pairing | None = None) -> Group:
    """One experiment with what was predicted for it."""
    parts: list[RenderableType] = [result_page(result)]
    if pairing is not None:
        parts += ["", *_pairs([pairing])]
    if result.prediction is not None:
        parts += ["", *prediction_parts(result.prediction)]
    return Group(*parts)


def contrast_page(
    results: Sequence[PredictedResult], pairings: Sequence[Pairing], contrast: ValueContrast | None
) -> Group:
    """A patch of the same value beside one of another value."""
    head, e = Text("", style="bold"), results[0].experiment
    head.append(f"patch {e.site} of {e.model}: the same value beside another one\n")
    head.append(f"{e.data} · SAE {e.sae} · propagate {e.propagate} · seed {e.seed}", style="not bold")
    parts: list[RenderableType] = [head, "", *_pairs(pairings), "", _side_by_side(results)]
    if contrast is not None:
        parts += ["", Text(contrast.verdict, style="bold")]
    for result in results:
        if result.prediction is not None:
            parts += ["", *prediction_parts(result.prediction)]
    # the two run one after the other on the same threads: seconds add up, threads do not
    seconds = sum(result.environment.seconds for result in results)
    threads = results[0].environment.threads
    return Group(*parts, "", Text(f"{seconds:.1f} s on {threads} threads", style="dim"))


def prediction_parts(test: PredictionTest) -> list[RenderableType]:
    """What was predicted, what the answers became, controls, verdict."""
    head = Text(f"prediction: {test.claim}", style="bold")
    head.append(f"\n{_population(test)}", style="not bold")
    parts: list[RenderableType] = [head, "", _became(test)]
    # Where the prediction is also the source's own answer, a hit could mean that the whole answer was copied. Only the
    # other problems tell the two apart, so their count stands beside.
    if test.n_distinct is not None and test.n_distinct < test.n_tested:
        distinct = f"{test.n_hits_distinct} of {test.n_distinct} where the predicted answer is not the source's own"
        parts.append(Text(f"predicted answers: {distinct}", style="dim"))
    if test.controls is not None:
        parts += ["", _controls(test, test.controls)]
    return [*parts, "", Text(test.verdict, style="bold")]


def _population(test: PredictionTest) -> str:
    left_out = ", ".join(f"{reason} {count:,}" for reason, count in test.not_predicted.items())
    text = f"{test.n_predicted:,} of {test.n:,} problems have a prediction" + (f" ({left_out})" if left_out else "")
    text += f"; it differs from the true answer on {test.n_informative:,}, of which {test.n_tested:,} are touched.\n"
    ambiguous = f" {test.n_ambiguous:,} of them have a step whose operand is ambiguous." if test.n_ambiguous else ""
    return f"{text}{test.n_needed:,} are needed to find a share of {test.assumed_hit_rate:.0%}.{ambiguous}"


def _became(test: PredictionTest) -> Table:
    out = table("the answer became", "n", "share", f"{test.confidence:.0%} interval")
    for name, count in test.became.items():
        # Wilson and not Wald: shares near 0 and 1 are the rule here, and Wald's interval would leave 0 to 1
        low, high = wilson(count, test.n_tested, test.confidence)
        share = "" if low is None or high is None else f"{100 * count / test.n_tested:.1f} %"
        interval = "" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f} %"
        out.add_row(name, f"{count:,}", share, interval, style="bold" if name == "predicted" else None)
    # how often the clean run already gave the predicted answer: a hit rate means nothing without it
    out.add_row("(predicted, before the edit)", f"{test.n_hits_clean:,}", "", "")
    return out


def _controls(test: PredictionTest, controls: PredictionControls) -> Table:
    title = f"{len(controls.hit_rates)} controls: {controls.kind}"
    out = table(title, "this edit", "controls' median", "controls' range", "as good", "p")
    # controls that touch no tested problem have no hit rate; a row of zeros would read as "controls never hit"
    if not controls.hit_rates or test.hit_rate is None:
        out.add_row("predicted answers", "", "touch none of these problems", "", "", "-")
        return out
    rates = sorted(controls.hit_rates)
    # the mean of the two middle rates, which for an odd number are the same one
    middle = (rates[(len(rates) - 1) // 2] + rates[len(rates) // 2]) / 2
    spread = f"{100 * rates[0]:.1f} to {100 * rates[-1]:.1f} %"
    own = f"{100 * test.hit_rate:.1f} %"
    out.add_row(
        "predicted answers", own, f"{100 * middle:.1f} %", spread, str(controls.n_as_well), p_text(controls.p_value)
    )
    return out


def _pairs(pairings: Sequence[Pairing]) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for pairing in pairings:
        shared = "; ".join(f"{name} {count:,}" for name, count in pairing.matched.items())
        lines.append(Text(f"{pairing.n_pairs:,} {pairing.origin}" + (f": {shared}" if shared else "")))
    return lines


def _side_by_side(results: Sequence[PredictedResult]) -> Table:
    out = table("", "same value", "another value")
    arms = [result.arms for result in results]
    effects = [result.effect for result in results]
    out.add_row("problems patched", *(f"{e.n_touched or 0:,}" for e in effects))
    out.add_row("right before", *(f"{100 * a['clean'].accuracy:.2f} %" for a in arms))
    out.add_row("right after", *(f"{100 * a['intervened'].accuracy:.2f} %" for a in arms))
    out.add_row("change, points", *(points(e.estimate) for e in effects))
    out.add_row("95% interval", *(f"{points(e.low)} to {points(e.high)}" for e in effects))
    out.add_row("p", *(p_text(e.p_value) for e in effects))
    out.add_row("answers changed", *(f"{e.n_answer_changed or 0:,}" for e in effects))
    out.add_row("log-probability of the clean answer, nats", *(_logprob(e) for e in effects))
    return out


def _logprob(effect: Effect) -> str:
    return "-" if effect.logprob is None else nats(effect.logprob.estimate)
