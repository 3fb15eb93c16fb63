"""Results as people read them. Every command loads it, so the types that it shows are imported for checkers alone."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from codi_int.cli._console import untold
from codi_int.cli._fitting import Column, FittedTable, Page, table
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, fixed, interval_text, nats, p_text, percentage, points, significant, span
from codi_int.cli._side_effect_pages import family_table, later_tables, side_effect_lines

if TYPE_CHECKING:
    from codi_int.interventions.engine.summary import ResultFamily
    from codi_int.interventions.evaluation import AccuracyRow, Evaluation
    from codi_int.types import ControlSet, Effect, MeanEffect, OperationRow, Result, StepsRow


def result_page(result: "Result") -> Page:
    """One experiment: what was done, the arms, the effect, controls, operations, the verdict."""
    parts: list[RenderableType] = [_headline(result), "", _arms(result)]
    # where nothing was edited there is no test, and a table of zeros would look like a null result
    if result.effect.p_value is not None:
        silent = "later silent" if "undisturbed" in result.arms else "clean"
        before = "reconstructed" if result.experiment.splice == "replace" else silent
        parts += ["", effect_table(result.effect, f"effect (intervened - {before})"), *effect_lines(result.effect)]
        parts += side_effect_lines(result.side_effects)
        for name, group in result.controls.items():
            parts += ["", _controls(name, group, result), *_matched(group)]
        parts += subgroup_tables(result.by_operation, result.by_steps)
        parts += later_tables(result.side_effects)
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
        parts += ["", _family_likelihoods(family), *family_table(family.results)]
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
    rules = f"padding {evaluation.padding}, answer rule {evaluation.rule}, intervals: {evaluation.overall.method}"
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
    return f"{details} · propagate {e.propagate}{later_words(e.later)} · seed {e.seed}"


def later_words(later: str) -> str:
    """What a page's second line says of later positions: nothing where they are free."""
    return "" if later == "free" else f" · later {later}"


def _arms(result: "Result", *names: str) -> FittedTable:
    out = table("arm", Column("right", rank=1), "accuracy", "change")
    clean = result.arms["clean"].accuracy
    # the baseline is no clean model there, and the one that is has a row of its own
    silent = "undisturbed" in result.arms
    for name, arm in result.arms.items():
        if names and name not in (*names, "undisturbed"):
            continue
        change = "" if name in ("clean", "undisturbed") else points(arm.accuracy - clean)
        out.add_row(
            "later silent" if silent and name == "clean" else name,
            f"{arm.n_correct:,}",
            f"{percentage(arm.accuracy, 2)} %",
            change,
        )
    return out


def _family(family: "ResultFamily") -> FittedTable:
    out = table(
        "accuracy, points",
        Column("touched", rank=2),
        "change",
        Column("interval", rank=1),
        Column("broken", rank=4),
        Column("fixed", rank=4),
        Column("p", rank=3),
        "p (Holm)",
        Column("", text=True),
    )
    for result, adjusted in zip(family.results, family.p_adjusted, strict=True):
        e = result.effect
        flips = (f"{e.n_broken:,}", f"{e.n_fixed:,}", p_text(e.p_value), p_text(adjusted))
        interval = f"{points(e.low)} to {points(e.high)}"
        cells = (f"{e.n_touched:,}", points(e.estimate), interval, *flips)
        out.add_row(result.experiment.label, *cells, e.conclusion or "")
    return out


def _family_likelihoods(family: "ResultFamily") -> FittedTable:
    """The clean answer's probability, which always has an interval, and its log-probability."""
    from codi_int.interventions.evidence.families import adjust

    out = table(
        "the clean answer's",
        "probability, points",
        Column("interval", rank=1, name="interval of points"),
        "log-probability, nats",
        # the first to leave: few edits move enough problems to have one
        Column("interval", rank=3, name="interval of nats"),
        "p (Holm)",
        Column("does more than", rank=2),
    )
    adjusted = adjust([None if log is None else log.p_value for log in (r.effect.logprob for r in family.results)])
    for result, p_value in zip(family.results, adjusted, strict=True):
        log, found, group = result.effect.logprob, result.effect.probability, result.controls.get("random_features")
        if log is None:
            continue
        rank = None if group is None else group.rank_of_logprob
        share = "" if rank is None or group is None else f"{percentage(rank, 0)} % of {counted(group.draws, 'control')}"
        chance = ("-", "-") if found is None else (points(found.estimate), interval_text(found.low, found.high, points))
        interval = interval_text(log.low, log.high, nats)
        out.add_row(result.experiment.label, *chance, nats(log.estimate), interval, p_text(p_value), share)
    return out


def effect_table(e: "Effect", title: str) -> FittedTable:
    """The four means of one comparison with their intervals and tests."""
    out = table(title, "estimate", f"{e.confidence:.0%} interval", "p")
    out.add_row("accuracy, points", points(e.estimate), f"{points(e.low)} to {points(e.high)}", p_text(e.p_value))
    rows: "tuple[tuple[str, MeanEffect | None, Any], ...]" = (
        ("probability of the clean answer, points", e.probability, points),
        ("log-probability of the clean answer, nats", e.logprob, nats),
        ("margin of the clean answer, logits", e.margin, nats),
    )
    for label, found, show in rows:
        if found is not None:
            interval = interval_text(found.low, found.high, show)
            out.add_row(label, show(found.estimate), interval, p_text(found.p_value))
    return out


def effect_lines(e: "Effect") -> Iterator[Text]:
    """What stands below the effect: the flips, and what the intervals and tests are of."""
    flips = f"{e.n_broken:,} broken, {e.n_fixed:,} fixed"
    touched = counted(e.n_touched or 0, "touched problem")
    yield Text(f"flips: {flips}; answers changed: {e.n_answer_changed or 0:,} on {touched}")
    if e.largest_possible is not None and e.largest_in_population is not None:
        limit = f"accuracy can change by at most {percentage(e.largest_possible, 2)} points here"
        more = f"by {percentage(e.largest_in_population, 2)} on other problems of the kind"
        yield Text(f"{limit}, {more} ({e.confidence:.0%} upper limit)", style="dim")
    if e.bound is not None and e.p_equivalence is not None:
        within = f"a change of {percentage(e.bound, 2)} points or more, the bound declared: p"
        yield Text(f"against {within} {_equals(e.p_equivalence)}", style="dim")
    if e.n_effective is not None and e.share_of_largest is not None:
        carry = f"{fixed(e.n_effective, 1)} problems carry the mean log-probability"
        too_few = ": too few for an interval" if e.logprob is not None and e.logprob.low is None else ""
        yield Text(f"{carry}, the three largest {percentage(e.share_of_largest, 0)} % of it{too_few}", style="dim")
    if (found := e.symmetry) is not None:
        ps = f"sign flips p {_equals(found.sign_flip_p)}, signed rank p {_equals(found.signed_rank_p)}"
        yield Text(f"symmetry, not the mean (nats): {ps}", style="dim")
    yield Text(_methods(e), style="dim")


def _methods(e: "Effect") -> str:
    """The tests and intervals by name; what they have in common is said once."""
    made = [one.method for one in (e.probability, e.logprob, e.margin) if one is not None and one.low is not None]
    names = dict.fromkeys(name.removesuffix(", by cluster") for name in (e.method, *made))
    unit = "" if e.n_clusters in (None, e.n) else f", by cluster ({e.n_clusters:,} different calculations)"
    return f"{'; '.join(names)}{unit}"


def _equals(p_value: float | None) -> str:
    text = p_text(p_value)
    return text if text.startswith("<") else f"= {text}"


def _matched(group: "ControlSet") -> Iterator[Text]:
    # printed so that a reader can see whether controls are matched: as often, and by as much, as the edit itself
    rates, sizes = sorted(group.firing_rates), sorted(group.edit_sizes)
    who = "controls touch" if group.draws > 1 else "the control touches"
    touched = span((percentage(rates[0], 0), percentage(rates[-1], 0)), " %")
    norms = span((significant(sizes[0]), significant(sizes[-1])))
    yield Text(f"{who} {touched} of problems, norm of the edit {norms}", style="dim")
    if (matched := group.matched) is not None:
        touched = f"{matched.touched:,} problems (controls' median {fixed(matched.touched_median, 0)})"
        norms = f"{significant(matched.edit_size)} ({significant(matched.edit_size_median)})"
        yield Text(f"the edit touches {touched}, norm {norms}", style="dim")
    if (found := group.difference) is not None:
        interval = f"{interval_text(found.low, found.high, points)}, p {_equals(found.p_value)}"
        yield Text(f"effect minus controls, problem by problem: {points(found.value)} points ({interval})")
        # (1 + as strong) / (1 + draws): of so few draws it is a rank, and named so
        yield Text(f"rank of the edit among them by accuracy: p {_equals(group.p_value)}", style="dim")


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


def subgroup_tables(by_operation: "Sequence[OperationRow]", by_steps: "Sequence[StepsRow]") -> Iterator[RenderableType]:
    """The effect by operation and by number of steps, each below a blank line; nothing where there are no rows."""
    if by_operation:
        yield from ("", _subgroups("problems that use", "with - without", [(r.operation, r) for r in by_operation]))
    if by_steps:
        yield from (
            "",
            _subgroups("problems of", "these - others", [(counted(r.n_steps, "step"), r) for r in by_steps]),
        )


def _subgroups(title: str, contrast: str, rows: "Sequence[tuple[str, OperationRow | StepsRow]]") -> FittedTable:
    """The effect by kind of problem; what is tested is whether it differs from that on the others."""
    out = table(
        title,
        Column("n", rank=3),
        "change, points",
        Column("interval", rank=2),
        Column("broken", rank=4),
        Column("fixed", rank=4),
        contrast,
        Column("interval", rank=1, name=f"interval of {contrast}"),
        "p (Holm)",
    )
    for label, row in rows:
        found = row.contrast
        beside = ("-", "-", "-")
        if found is not None:
            interval = interval_text(found.low, found.high, points)
            beside = (points(found.value), interval, p_text(found.p_adjusted))
        interval = f"{points(row.low)} to {points(row.high)}"
        flips = (f"{row.n_broken:,}", f"{row.n_fixed:,}")
        out.add_row(label, f"{row.n:,}", points(row.estimate), interval, *flips, *beside)
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
