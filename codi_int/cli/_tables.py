"""Results as people read them. Every command loads it, so the types that it shows are imported for checkers alone."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from codi_int.cli._console import untold
from codi_int.cli._fitting import Column, FittedTable, Page, table
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, fixed, nats, p_text, percentage, points, significant, span

if TYPE_CHECKING:
    from codi_int.interventions.engine.summary import ResultFamily
    from codi_int.interventions.evaluation import AccuracyRow, Evaluation
    from codi_int.types import ControlSet, Result


def result_page(result: "Result") -> Page:
    """One experiment: what was done, the arms, the effect, controls, operations, the verdict."""
    parts: list[RenderableType] = [_headline(result), "", _arms(result)]
    # where nothing was edited there is no test, and a table of zeros would look like a null result
    if result.effect.p_value is not None:
        parts += ["", _effect(result), _flips(result)]
        for name, group in result.controls.items():
            parts += ["", _controls(name, group, result), _matched(group)]
        parts += ["", _operations(result)]
    parts += ["", Text(result.effect.verdict, style="bold")]
    parts += note_lines(result.notes)
    return Page(*parts, "", _footer(result))


def family_page(family: "ResultFamily") -> Page:
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
    notes = note_lines(note for result in family.results for note in result.notes)
    return Page(*parts, *notes, "", _footer(*family.results))


def note_lines(notes: Iterable[str]) -> list[RenderableType]:
    """What a reader should know besides; warnings stand on stderr already."""
    return [Text(f"Note: {note}") for note in untold(notes)]


def evaluation_page(evaluation: "Evaluation") -> Page:
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
    parts += ["", Text(f"{counted(evaluation.n_unanswered, 'answer')} held no number."), *note_lines(evaluation.notes)]
    return Page(*parts, _throughput(evaluation))


def _throughput(evaluation: "Evaluation") -> Text:
    """How fast, and under which rules."""
    rules = f"padding {evaluation.padding}, answer rule {evaluation.rule}"
    if evaluation.seconds is None or evaluation.problems_per_second is None:
        return Text(rules, style="dim")
    speed = (
        f"{fixed(evaluation.problems_per_second, 1)} problems per second in batches of at most {evaluation.batch_size}"
    )
    halved = f", halved {counted(evaluation.n_halved, 'time')} for want of memory" if evaluation.n_halved else ""
    return Text(f"{rules}\n{speed}{halved}", style="dim")


def _headline(result: "Result") -> Text:
    e = result.experiment
    where = "" if len(e.sites) > 1 else f" at {e.site}"  # the label of several sites names them
    return Text(f"{e.label}{where} of {e.model}", style="bold").append(_details(result), style="not bold")


def _where(result: "Result") -> str:
    return ", ".join(map(str, result.experiment.sites)) or str(result.experiment.site)


def _details(result: "Result") -> str:
    e = result.experiment
    details = f"\n{counted(e.n_problems, 'problem')} of {e.data} · SAE {e.sae} · splice {e.splice}"
    return f"{details} · propagate {e.propagate} · seed {e.seed}"


def _arms(result: "Result", *names: str) -> FittedTable:
    out = table("arm", Column("right", rank=1), "accuracy", "change")
    clean = result.arms["clean"].accuracy
    for name, arm in result.arms.items():
        if names and name not in names:
            continue
        change = "" if name == "clean" else points(arm.accuracy - clean)
        out.add_row(name, f"{arm.n_correct:,}", f"{percentage(arm.accuracy, 2)} %", change)
    return out


def _family(family: "ResultFamily") -> FittedTable:
    # Holm over the family: accuracy is what the family is a test of. Log-probabilities below are shown unadjusted.
    out = table(
        "accuracy, points",
        Column("touched", rank=2),
        "change",
        Column("interval", rank=1),
        Column("broken", rank=4),
        Column("fixed", rank=4),
        Column("p", rank=3),
        "p (Holm)",
    )
    for result, adjusted in zip(family.results, family.p_adjusted, strict=True):
        e = result.effect
        flips = (f"{e.n_broken:,}", f"{e.n_fixed:,}", p_text(e.p_value), p_text(adjusted))
        interval = f"{points(e.low)} to {points(e.high)}"
        out.add_row(result.experiment.label, f"{e.n_touched:,}", points(e.estimate), interval, *flips)
    return out


def _family_logprobs(family: "ResultFamily") -> FittedTable:
    out = table(
        "log-probability, nats",
        "change",
        Column("interval", rank=1, name="interval of nats"),
        "p",
        Column("does more than", rank=2),
    )
    for result in family.results:
        log, group = result.effect.logprob, result.controls.get("random_features")
        rank = None if group is None else group.rank_of_logprob
        share = "" if rank is None or group is None else f"{percentage(rank, 0)} % of {counted(group.draws, 'control')}"
        if log is not None:
            interval = f"{nats(log.low)} to {nats(log.high)}"
            out.add_row(result.experiment.label, nats(log.estimate), interval, p_text(log.p_value), share)
    return out


def _effect(result: "Result") -> FittedTable:
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
    flips = f"{e.n_broken:,} broken, {e.n_fixed:,} fixed"
    touched = counted(e.n_touched or 0, "touched problem")
    return Text(f"flips: {flips}; answers changed: {e.n_answer_changed or 0:,} on {touched}")


def _matched(group: "ControlSet") -> Text:
    # printed so that a reader can see whether controls are matched: as often, and by as much, as the edit itself
    rates, sizes = sorted(group.firing_rates), sorted(group.edit_sizes)
    who = "controls touch" if group.draws > 1 else "the control touches"
    touched = span((percentage(rates[0], 0), percentage(rates[-1], 0)), " %")
    norms = span((significant(sizes[0]), significant(sizes[-1])))
    return Text(f"{who} {touched} of problems, norm of the edit {norms}", style="dim")


def _controls(name: str, group: "ControlSet", result: "Result") -> FittedTable:
    title = f"{counted(group.draws, 'control')}: {name.replace('_', ' ')}"
    # one control is its own median and has no range
    several = (Column("controls' median", rank=1), Column("controls' range", rank=2))
    out = table(title, "this edit", *(several if group.draws > 1 else ["the control"]), "does more than")
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
        share = "" if rank is None else f"{percentage(rank, 0)} %"
        spread = [f"{show(ordered[0])} to {show(ordered[-1])}"] if group.draws > 1 else []
        out.add_row(label, show(own), show(middle), *spread, share)
    return out


def _operations(result: "Result") -> FittedTable:
    out = table(
        "problems that use",
        Column("n", rank=2),
        "change, points",
        Column("interval", rank=1),
        Column("broken", rank=4),
        Column("fixed", rank=4),
        Column("p", rank=3),
        "p (Holm)",
    )
    for row in result.by_operation:
        interval = f"{points(row.low)} to {points(row.high)}"
        flips = (f"{row.n_broken:,}", f"{row.n_fixed:,}")
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


def _accuracies(title: str, rows: "Sequence[AccuracyRow]") -> FittedTable:
    out = table(title, Column("n", rank=1), Column("right", rank=2), "accuracy", "95% interval")
    for row in rows:
        interval = f"{percentage(row.low, 2)} to {percentage(row.high, 2)} %"
        out.add_row(row.group, f"{row.n:,}", f"{row.n_correct:,}", f"{percentage(row.accuracy, 2)} %", interval)
    return out


def _footer(*results: "Result") -> Text:
    counts, env = [result.counts for result in results], results[0].environment
    pairs, skipped, rows, rerun = (
        sum(getattr(count, name) for count in counts) for name in ("pairs", "skipped", "suffix_rows", "rerun")
    )
    work = f"{pairs:,} (edit, problem) pairs: {skipped:,} proved unchanged, {rows:,} run from the site on"
    seconds = sum(result.environment.seconds for result in results)
    hashes = f"model {env.model_sha256[:12]}, SAE {env.sae_sha256[:12] or 'none'}, data {env.data_sha256[:12]}"
    spent = f"{fixed(seconds, 1)} s on {counted(env.threads, 'thread')}"
    return Text(f"{work}, {rerun:,} run twice · {spent}\nSHA-256 begins: {hashes}", style="dim")
