"""`codi-int reproduce`: a published experiment again, every number as published, as found here, and how sure."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from codi_int.cli import _options as o
from codi_int.cli._console import Report
from codi_int.cli._fitting import Column, Page, table
from codi_int.cli._job import Kept, keep_on_interrupt, run_folder, run_job
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, fixed, interval_text, p_text
from codi_int.cli._signature import with_options
from codi_int.files import write_csv, write_json
from codi_int.run_folder import RunFolder

if TYPE_CHECKING:
    from codi_int.runs.reproduction import Line, Reproduction

NAME = "reproduction"


@dataclass(frozen=True, kw_only=True)
class ReproduceOptions(o.KeptOptions):
    """Which experiment, on what."""

    name: Annotated[str, typer.Argument(help="Which experiment, such as k50-specialization.", metavar="NAME")]
    train_data: Annotated[str, o.where("--train-data", metavar="NAME", help="Problems to train SAEs on.")] = (
        "stories:sae"
    )
    confirm: Annotated[
        str,
        o.evidence(
            metavar="NAME",
            help="Where specialists are tested again: default (stories:confirmation for stories, else folds), folds, "
            "or other problems.",
        ),
    ] = "default"
    epochs: Annotated[
        int | None,
        o.what(parser=o.whole("--epochs", least=1), metavar="N", help="Passes over the rows.  [default: 25]"),
    ] = None


@with_options
def reproduce(options: ReproduceOptions) -> None:
    """Run a published experiment again: every number as published, as found here, and by a method that says how sure.

    --out keeps activations, SAEs and tables; a stopped run goes on there.
    Example: codi-int reproduce k50-specialization --out runs/k50
    """
    from codi_int.runs.published import load_experiment
    from codi_int.runs.reproduction import Reproduction

    load_experiment(options.name)  # a wrong name shows before anything is loaded
    folder = run_folder(options)
    run_job(
        lambda report: _run(options, folder, report),
        document=Reproduction.to_dict,
        page=reproduction_page,
        as_json=options.as_json,
        out=folder,
        keep=_keep,
    )


def _run(options: ReproduceOptions, folder: RunFolder, report: Report) -> "Reproduction":
    from codi_int.cli._sites import open_model
    from codi_int.data.problems import load_problems, problems_sha256
    from codi_int.interventions.screens.sides import SelectionPlan, take_sides
    from codi_int.runs.published import load_experiment
    from codi_int.runs.reproduce import reproduce as run
    from codi_int.runs.reproduction import ReproductionPlan

    problems = load_problems(options.data, options.limit)
    training = load_problems(options.train_data, options.limit)
    confirming = take_sides(problems, SelectionPlan(confirm=options.confirm)).confirming
    model = open_model(options.model, options.device)
    hashes = {} if confirming is None else {"confirmation": problems_sha256(confirming)}
    folder.claim(model=model.sha256, data=problems_sha256(problems), training=problems_sha256(training), **hashes)
    plan = ReproductionPlan(
        experiment=load_experiment(options.name),
        problems=problems,
        data=options.data,
        training=training,
        training_name=options.train_data,
        confirming=confirming,
        out=folder.path,
        epochs=options.epochs,
    )
    with keep_on_interrupt(lambda: f"SAEs that were finished are kept in {folder.path}" if folder.path else ""):
        return run(model, plan, report)


def _keep(found: "Reproduction", out: Path) -> Kept:
    write_json(out / f"{NAME}.json", found.to_dict(), indent=1)
    rows = found.rows()
    write_csv(out / f"{NAME}.csv", rows, list(rows[0]) if rows else ["subject", "measure"])
    return Kept((f"{NAME}.json", f"{NAME}.csv"))


def reproduction_page(found: "Reproduction") -> RenderableType:
    """A table for each dictionary or edit: published, here, and the honest number with its interval, n and test."""
    head = Text(f"{found.experiment} on {found.model}", style="bold")
    head.append(f"\n{found.question}\n{counted(found.n_problems, 'problem')} of {found.data}", style="not bold")
    parts: list[RenderableType] = [head, "", *(Text(words, style="dim") for words in found.settings)]
    for subject in dict.fromkeys(line.subject for line in found.lines):
        out = table(
            subject,
            "published",
            "here",
            "honest",
            Column("interval", rank=1),
            Column("n", rank=2),
            Column("p", rank=3),
            foldable=True,
        )
        for line in found.lines:
            if line.subject == subject:
                out.add_row(*_cells(line))
        parts += ["", out]
    methods = dict.fromkeys(line.honest.method for line in found.lines if line.honest)
    words = "\n".join(f"honest: {method}" for method in methods)
    return Page(*parts, "", Text(f"{words}\n{fixed(found.seconds, 1)} s", style="dim"))


def _cells(line: "Line") -> tuple[str, ...]:
    def show(value: float | None) -> str:
        if value is None:
            return "-"
        digits = 0 if not line.unit and float(value).is_integer() else 1 if line.unit else 4
        return fixed(value, digits)

    def of(value: float | None, n: int | None) -> str:
        return show(value) if value is None or n is None else f"{show(value)} of {n:,}"

    name = line.measure if not line.unit else f"{line.measure}, {line.unit}"
    found = line.honest
    rest = ("-", "-", "-", "-")
    if found is not None:
        interval = interval_text(found.low, found.high, show)
        rest = (show(found.value), interval, f"{found.n:,}", p_text(found.p_value))
    return (name, of(line.published, line.published_n), of(line.here, line.here_n), *rest)
