"""`codi-int stop`: what a model answers after each number of thoughts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import RenderableType

from codi_int.cli import _options as o
from codi_int.cli._console import Report
from codi_int.cli._fitting import Column, FittedTable, Page, table
from codi_int.cli._job import Kept, run_folder, run_job
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, fixed, interval_text, nats, p_text, percentage, points
from codi_int.cli._signature import with_options
from codi_int.cli._tables import note_lines
from codi_int.run_folder import RunFolder

if TYPE_CHECKING:
    from codi_int.interventions.stopping import EarlyStopping, StopChange, StopRow


@dataclass(frozen=True, kw_only=True)
class StopOptions(o.KeptOptions):
    """How far to go."""

    thoughts: Annotated[
        int | None,
        o.what(
            parser=o.whole("--thoughts", least=0),
            metavar="N",
            help="Largest number of thoughts; it may exceed the model's own.  [default: the model's own]",
        ),
    ] = None
    batch_size: Annotated[
        int | None,
        o.where(
            parser=o.whole("--batch-size", least=1),
            metavar="N",
            help="Problems at once.  [default: what fits into memory]",
        ),
    ] = None
    seed: Annotated[
        int, o.evidence(parser=o.whole("--seed", least=0, most=o.MOST_SEED), metavar="N", help="Of the bootstrap.")
    ] = 0


@with_options
def stop(options: StopOptions) -> None:
    """Answer after 0, 1, 2, ... thoughts: when is the answer there, does it stay, is a right one lost again?

    <eot> is fed at once after each number of thoughts; neighbouring numbers are tested problem by problem, corrected
    over all thoughts and groups of problems. --out keeps stop.json, every answer, and the picture.

    Example: codi-int stop --thoughts 12
    """
    from codi_int.interventions.stopping import EarlyStopping

    folder = run_folder(options)
    run_job(
        lambda report: _run(options, folder, report),
        document=EarlyStopping.to_dict,
        page=stop_page,
        as_json=options.as_json,
        out=folder,
        keep=_keep,
    )


def _run(options: StopOptions, folder: RunFolder, report: Report) -> "EarlyStopping":
    from codi_int.cli._sites import open_model
    from codi_int.data.problems import load_problems, problems_sha256
    from codi_int.interventions.stopping import run_stop

    problems = load_problems(options.data, options.limit)
    model = open_model(options.model, options.device)
    folder.claim(model=model.sha256, data=problems_sha256(problems))
    return run_stop(
        model,
        problems,
        options.thoughts,
        data=options.data,
        batch_size=options.batch_size,
        seed=options.seed,
        progress=report,
    )


def _keep(found: "EarlyStopping", out: Path) -> Kept:
    from codi_int.interventions.engine.documents import save_document
    from codi_int.interventions.kept import stop_tables, table_of

    document = found.to_dict()
    return Kept(
        save_document(out, "stop", document, {"stop": table_of(found), **stop_tables(found)}), [(document, out)]
    )


def stop_page(found: "EarlyStopping") -> Page:
    """All problems thought by thought, then numbers of steps and operations side by side."""
    head = Text(f"{found.model}: the answer after 0 to {counted(found.most, 'thought')}", style="bold")
    own = f"{counted(found.n_problems, 'problem')} of {found.data} · its own number of thoughts is {found.n_thoughts}"
    head.append(f"\n{own}", style="not bold")
    env = found.environment
    method = f"exact sign flips, by cluster ({found.n_clusters:,} different calculations); p: Holm over "
    method += f"{counted(len(found.changes), 'change')} of every thought and group; accuracy: Wilson's intervals\n"
    method += "helped most by: the largest of a group's changes, which makes its own interval too kind"
    footer = Text(f"{method}\n{fixed(env.seconds, 1)} s on {counted(env.threads, 'thread')}", style="dim")
    parts: list[RenderableType] = [head, "", _overall(found), *_explained(found)]
    parts += ["", _shares(found), "", _jumps(found), ""]
    parts += [Text(words, style="bold") for words in _conclusions(found)]
    return Page(*parts, *note_lines(found.notes), "", footer)


def _overall(found: "EarlyStopping") -> FittedTable:
    out = table(
        "thoughts",
        Column("right", rank=3),
        "accuracy",
        Column("95% interval", rank=1),
        Column("change, points", rank=1),
        Column("interval", rank=4, name="interval of the change"),
        "p (Holm)",
        Column("settled", rank=2),
        Column("lost", rank=2),
        Column("final answer, nats", rank=2),
        Column("interval", rank=5, name="interval of the log-probability"),
    )
    changes = {one.thoughts: one for one in found.changes if one.steps is None and one.operation is None}
    for row in found.overall:
        one = changes.get(row.thoughts)
        out.add_row(
            str(row.thoughts),
            f"{row.n_correct:,}",
            f"{percentage(row.accuracy, 2)} %",
            f"{percentage(row.low, 2)} to {percentage(row.high, 2)} %",
            "" if one is None else points(one.estimate),
            "" if one is None else interval_text(one.low, one.high, points),
            "" if one is None else p_text(one.p_adjusted),
            "-" if row.n_settled is None else f"{percentage(row.n_settled / row.n)} %",
            f"{row.n_lost:,}",
            nats(row.logprob),
            interval_text(row.logprob_low, row.logprob_high, nats),
        )
    return out


def _explained(found: "EarlyStopping") -> Sequence[Text]:
    own = found.n_thoughts
    return (
        Text(
            f"settled: answers from there to {counted(own, 'thought')} what it answers after {own}, the final answer; "
            "lost: wrong here, right after fewer thoughts; nats: mean log-probability of the final answer",
            style="dim",
        ),
    )


def _shares(found: "EarlyStopping") -> FittedTable:
    """Accuracy of every group after each number of thoughts."""
    out = table("% right after", "n", *(str(k) for k in range(found.most + 1)), foldable=True)
    for rows in _grouped((*found.rows, *found.by_operation)):
        out.add_row(_name(rows[0]), f"{rows[0].n:,}", *(percentage(row.accuracy) for row in rows))
    return out


def _jumps(found: "EarlyStopping") -> FittedTable:
    """The thought that helps each group most."""
    out = table(
        "helped most by",
        "thought",
        "change, points",
        Column("95% interval", rank=1),
        Column("broken", rank=3),
        Column("fixed", rank=3),
        "p (Holm)",
        Column("settled after", rank=2, name="median of settled after"),
    )
    settled = {_name(rows[0]): _median_settled(rows, found.n_thoughts) for rows in _grouped(found.all_rows)}
    for changes in _grouped(found.changes):
        own = [one for one in changes if one.thoughts <= found.n_thoughts]
        best = max(own, key=lambda one: (one.estimate, -one.thoughts))
        if best.estimate <= 0:
            out.add_row(_name(best), "none", *("-" for _ in range(5)), str(settled[_name(best)]))
            continue
        out.add_row(
            _name(best),
            str(best.thoughts),
            points(best.estimate),
            interval_text(best.low, best.high, points),
            f"{best.n_broken:,}",
            f"{best.n_fixed:,}",
            p_text(best.p_adjusted),
            str(settled[_name(best)]),
        )
    return out


def _conclusions(found: "EarlyStopping") -> Iterator[str]:
    """What the numbers come to, in sentences."""
    own = found.overall[found.n_thoughts]
    middle = _median_settled(found.overall, found.n_thoughts)
    yield f"Half of the problems have their final answer for good after {counted(middle, 'thought')}."
    ever = own.n_correct + own.n_lost
    lost = f"of {counted(ever, 'problem')} answered rightly after some number up to {found.n_thoughts}"
    yield f"{counted(own.n_lost, 'right answer')} {'is' if own.n_lost == 1 else 'are'} lost again, {lost}."
    if found.most > found.n_thoughts:
        after = found.overall[found.most]
        change = points(after.accuracy - own.accuracy)
        yield f"Accuracy after {found.most} thoughts minus that after its own {found.n_thoughts}: {change} points."


def _grouped(rows: Sequence[Any]) -> Iterator[list[Any]]:
    """The rows, or changes, of each group of problems together, in their order."""
    groups: dict[str, list[Any]] = {}
    for row in rows:
        groups.setdefault(_name(row), []).append(row)
    yield from groups.values()


def _name(row: "StopRow | StopChange") -> str:
    if row.operation is not None:
        return row.operation
    return "all problems" if row.steps is None else counted(row.steps, "step")


def _median_settled(rows: "Sequence[StopRow]", own: int) -> int:
    """The fewest thoughts after which half of the problems are settled."""
    return next((row.thoughts for row in rows if row.n_settled is not None and 2 * row.n_settled >= row.n), own)
