"""`codi-int compare`: two kept runs, problem by problem."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from codi_int.cli import _complete
from codi_int.cli import _options as o
from codi_int.cli._console import Report
from codi_int.cli._fitting import Column, FittedTable, Page, table
from codi_int.cli._job import keep_as, run_folder, run_job
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, p_text, percentage, points
from codi_int.cli._signature import with_options
from codi_int.cli._tables import effect_lines, effect_table, note_lines, subgroup_tables

if TYPE_CHECKING:
    from codi_int.runs.compare import ComparedRun, RunComparison


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Which runs, and by which rules."""

    first: Annotated[Path, typer.Argument(help="A folder that --out has kept: ablate, amplify, swap or patch.")]
    second: Annotated[Path, typer.Argument(help="Another one, which is compared with the first.")]
    data: Annotated[
        str | None,
        o.where(
            metavar="NAME",
            help="The problems of both.  [default: those that the runs name]",
            autocompletion=_complete.data,
        ),
    ] = None
    bound: o.Bound = 0.005
    seed: Annotated[
        int, o.evidence(parser=o.whole("--seed", least=0, most=o.MOST_SEED), metavar="N", help="Of the bootstrap.")
    ] = 0
    out: o.Out = None
    force: o.Force = False
    as_json: o.Json = False


@with_options
def compare(options: CompareOptions) -> None:
    """Compare two kept runs problem by problem: two models, SAEs, sites or edits.

    Example: codi-int compare runs/449 runs/121
    """
    from codi_int.data.problems import load_problems
    from codi_int.runs.compare import RunComparison, compare_runs

    folder = run_folder(options)

    def work(report: Report) -> RunComparison:
        found = compare_runs(
            options.first,
            options.second,
            problems=None if options.data is None else load_problems(options.data),
            seed=options.seed,
            bound=options.bound,
        )
        folder.claim(**found.inputs)
        return found

    run_job(
        work,
        document=RunComparison.to_dict,
        page=comparison_page,
        as_json=options.as_json,
        out=folder,
        keep=keep_as("comparison.json", RunComparison.to_dict),
    )


def comparison_page(found: "RunComparison") -> Page:
    """Which runs, what either answers, what differs between them, the verdict."""
    head = Text("second run minus first run", style="bold")
    head.append(f"\n{counted(found.n, 'problem')} of both · seed {found.seed}", style="not bold")
    parts: list[RenderableType] = [head, "", _runs(found), Text(_differing(found.differs), style="dim"), ""]
    parts += [effect_table(found.effect, "intervened arms, second - first"), *effect_lines(found.effect)]
    if found.clean is not None:
        parts += ["", _against_clean(found)]
    if found.effect.p_value is not None:
        parts += subgroup_tables(found.by_operation, found.by_steps)
    return Page(*parts, "", Text(found.effect.verdict, style="bold"), *note_lines(found.notes))


def _runs(found: "RunComparison") -> FittedTable:
    out = table("run", Column("model", rank=2), Column("clean", rank=1), "intervened", "change")
    for word, one in (("first", found.first), ("second", found.second)):
        accuracies = (f"{percentage(value, 2)} %" for value in (one.clean_accuracy, one.accuracy))
        change = points(one.accuracy - one.clean_accuracy)
        out.add_row(f"{word}: {_what(one)}", one.experiment.model, *accuracies, change)
    return out


def _what(run: "ComparedRun") -> str:
    e = run.experiment
    where = "" if len(e.sites) > 1 else f" at {e.site}"  # the label of several sites names them
    return f"{e.label}{where} ({run.name})"


def _differing(differs: Sequence[str]) -> str:
    return f"the runs differ in: {', '.join(differs)}" if differs else "the runs have the same settings"


def _against_clean(found: "RunComparison") -> FittedTable:
    """Of two models the clean arms differ as well, so what the edits do is compared against each one's own."""
    assert found.clean is not None
    out = table("accuracy, points", "second - first", "95% interval", "p")
    rows: tuple[tuple[str, float, Any], ...] = (
        ("clean arms", found.clean.estimate, found.clean),
        ("effects of the edits (betting interval)", found.difference.value, found.difference),
    )
    for label, value, one in rows:
        out.add_row(label, points(value), f"{points(one.low)} to {points(one.high)}", p_text(one.p_value))
    return out
