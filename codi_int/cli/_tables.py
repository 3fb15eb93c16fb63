"""Results as people read them. Every command loads it, so the types that it shows are imported for checkers alone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType

from codi_int.cli._literal import Table, Text

if TYPE_CHECKING:
    from codi_int.interventions.engine.summary import ResultFamily
    from codi_int.interventions.evaluation import AccuracyRow, Evaluation
    from codi_int.types import ControlSet, Result


def table(*columns: str, title: str | None = None) -> Table:
    """A plain table whose first column is text and whose others are numbers."""
    # no box: the page is copied into papers and issues, where lines of box characters break
    out = Table(*columns, title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    out.padding = (0, 3, 0, 0)
    for column in out.columns[1:]:
        column.justify = "right"
    return out


def result_page(result: "Result") -> Group:
    """One experiment: what was done, the arms, the effect, controls, operations, the verdict."""
    parts: list[RenderableType] = [_headline(result), "", _arms(result)]
    # where nothing was edited there is no test, and a table of zeros would look like a null result
    if result.effect.p_value is not None:
        parts += ["", _effect(result), _flips(result)]
        for name, group in result.controls.items():
            parts += ["", _controls(name, group, result), _matched(group)]
        parts += ["", _operations(result)]
    parts += ["", Text(result.effect.verdict, style="bold")]
    parts += [Text(f"Note: {note}") for note in result.notes]
    return Group(*parts, "", _footer(result))


def family_page(family: "ResultFamily") -> Group:
    """Several edits on the same problems, one row each, with p-values adjusted over all of them."""
    from codi_int.interventions.engine.summary import family_verdict

    first = family.results[0]
    details = _details(first)
    head = Text(f"{len(family.results)} edits at {_where(first)} of {first.experiment.model}", style="bold")
    parts: list[RenderableType] = [head.append(details, style="not bold"), "", _arms(first, "clean", "reconstructed")]
    parts += ["", _family(family)]
    if any(result.effect.p_value is not None for result in family.results):
        parts += ["", _family_logprobs(family)]
    parts += ["", Text(family_verdict(family), style="bold")]
    # the same note for each of a family is said once, in the order of its first appearance
    notes = dict.fromkeys(note for result in family.results for note in result.notes)
    return Group(*parts, *(Text(f"Note: {note}") for note in notes), "", _footer(*family.results))


def evaluation_page(evaluation: "Evaluation") -> Group:
    """Accuracy with intervals."""
    parts: list[RenderableType] = [Text(f"{evaluation.model} on {evaluation.data}", style="bold")]
    groups = [
        ("through thoughts", (evaluation.overall, *evaluation.by_steps)),
        ("through the written chain", evaluation.written_chain),
        ("by operation among the steps", evaluation.by_operation),
        ("thoughts replaced by their mean", evaluation.thoughts_replaced),
        ("all thoughts replaced, by steps", evaluation.thoughts_replaced_by_steps),
    ]
    parts += [part for title, rows in groups if rows for part in ("", _accuracies(title, rows))]
    return Group(*parts, "", Text(f"{evaluation.n_unanswered} answers held no number."), _throughput(evaluation))


def _throughput(evaluation: "Evaluation") -> Text:
    """How fast, and under which rules."""
    rules = f"padding {evaluation.padding}, answer rule {evaluation.rule}"
    if evaluation.seconds is None or evaluation.problems_per_second is None:
        return Text(rules, style="dim")
    speed = f"{evaluation.problems_per_second:.1f} problems per second in batches of at most {evaluation.batch_size}"
    halved = f", halved {evaluation.n_halved} times for want of memory" if evaluation.n_halved else ""
    return Text(f"{rules}\n{speed}{halved}", style="dim")


def _headline(result: "Result") -> Text:
    e = result.experiment
    where = "" if len(e.sites) > 1 else f" at {e.site}"  # the label of several sites names them
    return Text(f"{e.label}{where} of {e.model}", style="bold").append(_details(result), style="not bold")


def _where(result: "Result") -> str:
    return ", ".join(map(str, result.experiment.sites)) or str(result.experiment.site)


def _details(result: "Result") -> str:
    e = result.experiment
    details = f"\n{e.n_problems:,} problems of {e.data} · SAE {e.sae} · splice {e.splice}"
    return f"{details} · propagate {e.propagate} · seed {e.seed}"


def _arms(result: "Result", *names: str) -> Table:
    out = table("arm", "right", "accuracy", "change")
    clean = result.arms["clean"].accuracy
    for name, arm in result.arms.items():
        if names and name not in names:
            continue
        change = "" if name == "clean" else points(arm.accuracy - clean)
        out.add_row(name, f"{arm.n_correct:,}", f"{100 * arm.accuracy:.2f} %", change)
    return out


def _family(family: "ResultFamily") -> Table:
    # Holm over the family: accuracy is what the family is a test of. Log-probabilities below are shown unadjusted.
    out = table("accuracy, points", "touched", "change", "interval", "broken", "fixed", "p", "p (Holm)")
    for result, adjusted in zip(family.results, family.p_adjusted, strict=True):
        e = result.effect
        flips = (str(e.n_broken), str(e.n_fixed), p_text(e.p_value), p_text(adjusted))
        interval = f"{points(e.low)} to {points(e.high)}"
        out.add_row(result.experiment.label, f"{e.n_touched:,}", points(e.estimate), interval, *flips)
    return out


def _family_logprobs(family: "ResultFamily") -> Table:
    out = table("log-probability, nats", "change", "interval", "p", "does more than")
    for result in family.results:
        log, group = result.effect.logprob, result.controls.get("random_features")
        rank = None if group is None else group.rank_of_logprob
        share = "" if rank is None or group is None else f"{100 * rank:.0f} % of {group.draws} controls"
        if log is not None:
            interval = f"{nats(log.low)} to {nats(log.high)}"
            out.add_row(result.experiment.label, nats(log.estimate), interval, p_text(log.p_value), share)
    return out


def _effect(result: "Result") -> Table:
    e = result.effect
    out = table("effect (intervened - clean)", "estimate", f"{e.confidence:.0%} interval", "p")
    out.add_row("accuracy, points", points(e.estimate), f"{points(e.low)} to {points(e.high)}", p_text(e.p_value))
    if e.logprob is not None:
        log = e.logprob
        interval = f"{nats(log.low)} to {nats(log.high)}"
        out.add_row("log-probability of the clean answer, nats", nats(log.estimate), interval, p_text(log.p_value))
    return out


def _flips(result: "Result") -> Text:
    e = result.effect
    flips = f"{e.n_broken} broken, {e.n_fixed} fixed"
    return Text(f"flips: {flips}; answers changed: {e.n_answer_changed} on {e.n_touched:,} touched problems")


def _matched(group: "ControlSet") -> Text:
    # printed so that a reader can see whether controls are matched: as often, and by as much, as the edit itself
    rates, sizes = sorted(group.firing_rates), sorted(group.edit_sizes)
    touch = f"controls touch {100 * rates[0]:.0f} to {100 * rates[-1]:.0f} % of problems"
    return Text(f"{touch}, norm of the edit {sizes[0]:.2g} to {sizes[-1]:.2g}", style="dim")


def _controls(name: str, group: "ControlSet", result: "Result") -> Table:
    title = f"{group.draws} control{'s' * (group.draws != 1)}: {name.replace('_', ' ')}"
    out = table(title, "this edit", "controls' median", "controls' range", "does more than")
    rows: list[tuple[str, float, Sequence[float], float | None, Any]] = [
        ("accuracy, points", result.effect.estimate, group.estimates, group.rank_of_effect, points)
    ]
    if result.effect.logprob is not None:
        own = result.effect.logprob.estimate
        rows.append(("log-probability, nats", own, group.logprob_estimates, group.rank_of_logprob, nats))
    for label, own, values, rank, show in rows:
        ordered = sorted(values)
        # the mean of the two middle values, which for an odd number are the same one
        middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
        share = "" if rank is None else f"{100 * rank:.0f} %"
        out.add_row(label, show(own), show(middle), f"{show(ordered[0])} to {show(ordered[-1])}", share)
    return out


def _operations(result: "Result") -> Table:
    out = table("problems that use", "n", "change, points", "interval", "broken", "fixed", "p", "p (Holm)")
    for row in result.by_operation:
        interval = f"{points(row.low)} to {points(row.high)}"
        flips = (str(row.n_broken), str(row.n_fixed))
        out.add_row(
            row.operation,
            f"{row.n:,}",
            points(row.estimate),
            interval,
            *flips,
            p_text(row.p_value),
            p_text(row.p_adjusted),
        )
    return out


def _accuracies(title: str, rows: "Sequence[AccuracyRow]") -> Table:
    out = table(title, "n", "right", "accuracy", "95% interval")
    for row in rows:
        interval = f"{100 * row.low:.2f} to {100 * row.high:.2f} %"
        out.add_row(row.group, f"{row.n:,}", f"{row.n_correct:,}", f"{100 * row.accuracy:.2f} %", interval)
    return out


def _footer(*results: "Result") -> Text:
    counts, env = [result.counts for result in results], results[0].environment
    pairs, skipped, rows, rerun = (
        sum(getattr(count, name) for count in counts) for name in ("pairs", "skipped", "suffix_rows", "rerun")
    )
    work = f"{pairs:,} (edit, problem) pairs: {skipped:,} proved unchanged, {rows:,} run from the site on"
    seconds = sum(result.environment.seconds for result in results)
    hashes = f"model {env.model_sha256[:12]}, SAE {env.sae_sha256[:12] or 'none'}, data {env.data_sha256[:12]}"
    return Text(f"{work}, {rerun} run twice · {seconds:.1f} s on {env.threads} threads\n{hashes}", style="dim")


def points(share: float) -> str:
    """A change of accuracy in percentage points."""
    return f"{100 * share:+.2f}"


def nats(change: float) -> str:
    """A change of log-probability: two digits, however small."""
    return f"{change:+.2g}"


def p_text(p_value: float | None) -> str:
    """`0.032`, `< 0.0001`."""
    if p_value is None:
        return "-"
    # a bound, not "0.0000": no test of this size gives a p-value of zero
    return "< 0.0001" if p_value < 1e-4 else f"{p_value:.4f}"
