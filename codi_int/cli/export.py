"""`codi-int export`: a kept run as a file of another tool's format."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codi_int.catalog import read_quietly
from codi_int.cli import _choices as c
from codi_int.cli import _options as o
from codi_int.errors import ConfigError, OutputError
from codi_int.run_folder import MANIFEST

if TYPE_CHECKING:
    from codi_int.shown import Finding

ENDINGS = {"inspect": ".json", "parquet": ".parquet", "csv": ".csv"}


def export(
    run: Annotated[Path, typer.Argument(help="A folder that --out has kept.")],
    out: Annotated[
        Path,
        o.output(
            metavar="PATH",
            help="The file: .json of inspect, .parquet or .csv. Of --format inspect also a folder of logs.",
        ),
    ],
    format: Annotated[
        c.RunFormat | None,
        o.output("--format", help="inspect is a log of Inspect, problem by problem.  [default: by the file's ending]"),
    ] = None,
    force: Annotated[bool, o.output("--force", help="Replace the file.")] = False,
    as_json: o.Json = False,
) -> None:
    """Write a kept run as a log of Inspect, or its table for pandas, Polars, R or a spreadsheet.

    Example: codi-int export runs/449 --out 449.parquet
    """
    from codi_int.cli._console import print_json, progress
    from codi_int.interventions.kept import load_result
    from codi_int.report.literal import show_controls

    kind = _format_of(out, format)
    if kind == "inspect" and not out.suffix:
        # Inspect finds logs in a folder by names that begin with the time, of which one has a place for each run
        out = out / f"{_times(run)[0].replace(':', '-')}_{run.resolve().name}.json"
    if out.exists() and not force:
        raise OutputError(f"--out {out} is there already.", "Give another file, or --force to replace it.")
    with progress(f"reading {run}"):
        found = load_result(run)
        rows = _write_log(found, run, out) if kind == "inspect" else _write_rows(found, kind, out)
    if as_json:
        print_json({"schema": "codi-int/export@1", "format": kind, "files": [str(out)], "n_rows": rows})
        return
    typer.echo(show_controls(f"{out}: {rows:,} {'samples' if kind == 'inspect' else 'rows'}"))


def _format_of(out: Path, given: str | None) -> str:
    """The format asked for, or the one whose ending the file has."""
    wanted = given or next((name for name, ending in ENDINGS.items() if out.suffix == ending), None)
    if wanted == "inspect" and not out.suffix:
        return wanted
    if wanted is None or out.suffix != ENDINGS[wanted]:
        known = ", ".join(f"{ending} ({name})" for name, ending in ENDINGS.items())
        what = f"no {ENDINGS[wanted]} file, as --format {wanted} is" if wanted else "of no format that is known"
        raise ConfigError(f"--out {out} is {what}.", f"Write a file with one of these endings: {known}.")
    return wanted


def _write_log(found: "Finding", run: Path, out: Path) -> int:
    """A log of Inspect; returns how many samples it has."""
    from codi_int.errors import DataError
    from codi_int.files import write_json
    from codi_int.runs.compare import problems_of
    from codi_int.runs.inspect_log import inspect_log
    from codi_int.types import Result

    if not isinstance(found, Result):
        raise DataError(
            f"{run} holds no edit but {type(found).__name__}: it has no answers of single problems, a log's samples.",
            "Export it as .parquet or .csv, or give a run of ablate, amplify, swap or patch.",
        )
    log = inspect_log(found, problems_of(found), *_times(run))
    write_json(out, log, indent=1)
    return len(log["samples"])


def _times(run: Path) -> tuple[str, str | None]:
    """When the run began and ended, as its manifest says; of one without, when its result was written."""
    from datetime import UTC, datetime

    folder = run if run.is_dir() else run.parent
    manifest = read_quietly(folder / MANIFEST)
    started, ended = manifest.get("started"), manifest.get("ended")
    if isinstance(started, str):
        return started, ended if isinstance(ended, str) else None
    file = run if run.is_file() else folder / "result.json"
    written = file.stat().st_mtime if file.is_file() else 0.0  # a folder without one is refused when it is read
    return datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds"), None


def _write_rows(found: "Finding", kind: str, out: Path) -> int:
    """The table of the run; returns how many rows it has."""
    from codi_int.errors import DataError
    from codi_int.files import write_csv
    from codi_int.interventions.engine.documents import write_table
    from codi_int.interventions.kept import table_of

    rows = table_of(found)
    if not rows:
        raise DataError(f"The {type(found).__name__} has no rows.", "Export another run.")
    if kind == "csv":
        write_csv(out, [{name: _cell(value) for name, value in row.items()} for row in rows], list(rows[0]))
    else:
        write_table(out, rows, _types(rows))
    return len(rows)


def _cell(value: Any) -> Any:
    """A value of a CSV file: of several, one after the other."""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else value


def _types(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Answers are whole or not and may be missing throughout: numbers in every file."""
    return {name: "float64" for name in rows[0] if name.endswith("_answer")}
