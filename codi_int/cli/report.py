"""`codi-int report`: what kept runs found, as one HTML file that needs nothing else."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codi_int.cli import _complete
from codi_int.cli import _options as o

if TYPE_CHECKING:
    from codi_int.report.html.blocks import ReportPage, RunReport

NAME, FEATURES = "report.html", "features.html"
STAGE = "runs read"


def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders that --out has kept; of several, one page shows them side by side.")
    ],
    out: Annotated[
        Path | None,
        o.output(metavar="FOLDER", help="Folder for report.html.  [default: the run's own; of several it is needed]"),
    ] = None,
    features: Annotated[
        bool,
        o.what(
            "--features",
            help="Show every feature of SAEs: names, folders (of a sweep, too), a model with its SAEs, and kept runs.",
        ),
    ] = False,
    data: Annotated[
        str, o.where(metavar="NAME", help="Problems for --features.", autocompletion=_complete.data)
    ] = "stories:validation",
    limit: Annotated[
        int | None,
        o.where(parser=o.whole("--limit", least=1), metavar="N", help="At most so many of them.  [default: all]"),
    ] = None,
    model: Annotated[
        str | None,
        o.where(metavar="NAME", help="Model for --features.  [default: the one that the SAE or screen names]"),
    ] = None,
    as_json: o.Json = False,
) -> None:
    """Write what kept runs found as one HTML file: question, answer, tables, figures, problems that changed.

    With --features all features of an SAE, of a sweep or of every site of a model, each with an address such as
    #L10.P5/121; screens, maps and edits that are given besides say what each does, in every context.
    Example: codi-int report runs/screen
    """
    from codi_int.cli._console import print_json, progress
    from codi_int.errors import ConfigError
    from codi_int.files import write_text
    from codi_int.report.literal import show_controls

    if features:
        _feature_dashboard(runs, out, (data, limit, model), as_json)
        return
    if out is None and len(runs) > 1:
        raise ConfigError(
            f"A report of several runs ({len(runs)}) belongs to none of their folders, and --out is missing.",
            "Write --out and a folder for it.",
        )
    # said before what draws is loaded, which takes a second or more by itself
    with progress(f"writing the report of {', '.join(map(str, runs))}") as shown:
        from codi_int.cli._report_runs import reports_of
        from codi_int.report.html.render import render_report

        made: list[RunReport] = []
        for number, run in enumerate(runs):
            shown.show(STAGE, number, len(runs), f"now {run}")
            own = run if run.is_dir() else run.parent
            folder = own if out is None else out
            dashboard = FEATURES if (folder / FEATURES).is_file() else ""
            made += reports_of(run, f"run{number + 1}", dashboard)
        file = write_text(folder / NAME, render_report(page_of_runs(made)))
    if as_json:
        print_json({"schema": "codi-int/report@1", "files": [str(file)], "runs": [one.title for one in made]})
        return
    typer.echo(show_controls(str(file)))


def page_of_runs(made: "Sequence[RunReport]") -> "ReportPage":
    """One page of them: of several, their answers side by side come first."""
    from codi_int.report.html.blocks import Cell, ReportPage, TableBlock

    if len(made) == 1:
        return ReportPage(made[0].title, made)
    rows = [
        [Cell(one.title, f"#{one.key}"), Cell(one.conclusion or "-"), Cell(" ".join(one.answers)), Cell(_about(one))]
        for one in made
    ]
    headings = ("run", "conclusion", "answer", "condition")
    overview = TableBlock(headings, rows, frozenset(range(len(headings))), caption="the runs side by side")
    return ReportPage(f"{len(made)} runs", made, overview)


def _about(one: "RunReport") -> str:
    return one.conditions[0] if one.conditions else ""


def _feature_dashboard(
    given: "Sequence[Path]", out: Path | None, asked: tuple[str, int | None, str | None], as_json: bool
) -> None:
    """Write a dashboard, and the report of the runs among what was given; `asked`: problems, how many, the model."""
    from codi_int.cli._console import print_json, progress, warnings_on_stderr
    from codi_int.errors import ConfigError
    from codi_int.files import write_text
    from codi_int.report.literal import show_controls

    if out is None and len(given) > 1:
        raise ConfigError(
            f"A dashboard of {len(given)} SAEs and runs belongs to none of their folders, and --out is missing.",
            "Write --out and a folder for it.",
        )
    if out is None and not given[0].is_dir():
        raise ConfigError(f"{given[0]} is no folder to write to, and --out is missing.", "Write --out and a folder.")
    data, limit, model = asked
    folder, files = given[0] if out is None else out, []
    with warnings_on_stderr(), progress() as shown:
        from codi_int.cli._dashboard_sources import read_sources
        from codi_int.cli._feature_report import feature_pages
        from codi_int.data.problems import load_problems
        from codi_int.report.html.render import render_report

        problems = load_problems(data, limit)
        sources = read_sources(given, model)
        for name, page in feature_pages(sources, problems, shown, linked=bool(sources.runs)):
            files.append(write_text(folder / name, render_report(page)))
        if sources.runs:
            made = [one for i, run in enumerate(sources.runs, 1) for one in _linked_reports(run, f"run{i}")]
            files.append(write_text(folder / NAME, render_report(page_of_runs(made))))
    # of several pages the index is the last
    names = [str(file) for file in files if file.name in (FEATURES, NAME)]
    if as_json:
        print_json({"schema": "codi-int/report@1", "files": [*map(str, files)], "pages": names})
        return
    typer.echo(show_controls("\n".join(names)))


def _linked_reports(run: Path, key: str) -> "list[RunReport]":
    """Reports of a run whose features lead to the dashboard beside it."""
    from codi_int.cli._report_runs import reports_of

    return reports_of(run, key, dashboard=FEATURES)
