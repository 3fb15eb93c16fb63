"""A kept run of any kind as the parts of a report. Loaded by `codi-int report` alone."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from codi_int.cli._dictionary_pages import against_words, found_words, strongest_words
from codi_int.cli._fitting import Page, table
from codi_int.cli._flips import flips_of
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, fixed, percentage
from codi_int.cli._prediction_pages import confirmed_page, contrast_page
from codi_int.cli._questions import bound_words, question_of
from codi_int.cli._report_beside import BesideScreen, beside_screen, confirmation_words, contrast_of
from codi_int.cli._report_links import link_features
from codi_int.cli._report_parts import PageParts, take_page_apart
from codi_int.errors import DataError
from codi_int.files import read_json, read_json_object
from codi_int.interventions.engine.store import FAMILY
from codi_int.interventions.engine.summary import ResultFamily
from codi_int.interventions.kept import load_result
from codi_int.interventions.patching.pairs import KINDS
from codi_int.interventions.patching.predicted import PredictedResult
from codi_int.report.figures import SWEEP, draw_kept, left_out
from codi_int.report.html.blocks import Flips, Picture, RunReport
from codi_int.report.html.svg import inline_svg
from codi_int.report.style import collect_figures
from codi_int.run_folder import MANIFEST
from codi_int.types import Result

NO_ANSWERS = (
    "A screen, map or curve keeps no answers of single problems. To see which ones change, run the edit by itself: "
    "codi-int ablate --feature N --out FOLDER."
)

CONTRAST_QUESTION = "Does a value from another problem change the answer as another value, and not as any patch does?"
EVERYTHING = 10_000_000
"""rows of a table: a report leaves none out"""

PAGES = {
    "Result": ("_tables", "result_page"),
    "PredictedResult": ("_prediction_pages", "predicted_page"),
    "ResultFamily": ("_tables", "family_page"),
    "Evaluation": ("_tables", "evaluation_page"),
    "Screen": ("_screen_pages", "screen_page"),
    "ThoughtMap": ("_map_pages", "map_page"),
    "AblationCurve": ("curve", "curve_page"),
    "EarlyStopping": ("stop", "stop_page"),
    "ProbeMap": ("_probe_pages", "probe_page"),
    "RunComparison": ("compare", "comparison_page"),
    "EffectByPath": ("_intervene", "paths_page"),
    "SeedComparison": ("_dictionary_pages", "seeds_page"),
    "DictionaryComparison": ("_dictionary_pages", "against_page"),
    "Reproduction": ("reproduce", "reproduction_page"),
}
"""name of a record to the module of its page, and what makes that; loaded where it is met"""


def reports_of(run: Path, key: str, dashboard: str = "") -> list[RunReport]:
    """What a folder holds: one report, or one for each of the runs that were made together.

    Args:
        run: a folder that `--out` has kept, or a JSON document in one.
        key: begins the addresses of its parts.
        dashboard: name of a page of features beside the report, to which features lead; empty for none.

    Raises:
        DataError: no run there, or one that is not whole.
    """
    folder = run if run.is_dir() else run.parent
    if (folder / SWEEP).is_file():
        return [_sweep_report(folder, key)]
    if run.is_dir() and (run / FAMILY).is_file():
        return [_report(_family(run), run, key), *_parts(run, key, dashboard)]
    # two patches that were made together lie in a folder each
    if run.is_dir() and not (run / "result.json").is_file() and (parts := _parts(run, key, dashboard)):
        return [*_patch_report(run, key), *parts]
    return [_report(load_result(run), run, key, dashboard)]


def _parts(run: Path, key: str, dashboard: str) -> list[RunReport]:
    return [_report(load_result(folder), folder, f"{key}-{folder.name}", dashboard) for folder in _folders(run)]


def _folders(run: Path) -> list[Path]:
    """Of the runs that were made together; patches of the same value come before those of another one."""
    folders = sorted(path.parent for path in run.glob("*/result.json"))
    named = {folder.name: folder for folder in folders}
    return [named[kind] for kind in KINDS] if set(named) == set(KINDS) else folders


def _patch_report(run: Path, key: str) -> list[RunReport]:
    """How patches of the same value and of another one compare, and whether that was confirmed; none of other runs."""
    results = [result for folder in _folders(run) if isinstance(result := load_result(folder), PredictedResult)]
    contrast = contrast_of(run)
    if contrast is None or len(results) != len(KINDS):
        return []
    page = confirmed_page([contrast_page(results, (), contrast)], confirmation_words(run, results))
    made = replace(_assemble(take_page_apart(page), None, key), question=CONTRAST_QUESTION)
    environment = results[0].to_dict()["environment"]
    return [replace(made, manifest=_manifest(run, environment), manifest_text=_manifest_text(run))]


def _family(run: Path) -> ResultFamily:
    """Several edits that were tested together, in the order of their document."""
    document = read_json_object(run / FAMILY, remedy="Run the command again.")
    parts = [load_result(path.parent) for path in sorted(run.glob("*/result.json"))]
    named = {part.experiment.label: part for part in parts if isinstance(part, Result)}
    try:
        results = tuple(named[one["experiment"]["label"]] for one in document["results"])
        return ResultFamily(results, tuple(document["p_adjusted"]))
    except (KeyError, TypeError) as error:
        raise DataError(f"{run / FAMILY} is not whole: {error!r}.", "Run the command again.") from None


def _report(found: Any, run: Path, key: str, dashboard: str = "") -> RunReport:
    folder = run if run.is_dir() else run.parent
    document = found.to_dict()
    made = report_of(found, key, folder)
    return replace(
        link_features(made, found, dashboard) if dashboard else made,
        pictures=pictures_of(run, key),
        left_out=left_out(document),
        manifest=_manifest(folder, document.get("environment") or {}),
        manifest_text=_manifest_text(folder),
    )


def report_of(found: Any, key: str, folder: Path | None = None) -> RunReport:
    """A record by itself: without figures and manifest, and with what lies beside it where its folder is given."""
    made = replace(_assemble(take_page_apart(page_of(found, folder)), found, key), flips=_flips(found))
    return made if made.answers else replace(made, answers=_said(found))


def _said(found: Any) -> Sequence[str]:
    """The answer of a record whose page is a table alone."""
    kind = type(found).__name__
    if kind == "Reproduction":
        return [_reproduced(found)]
    if kind == "SeedComparison":
        return found_words(found) or ["No feature was selected by accuracy."]
    if kind == "DictionaryComparison":
        return [against_words(found), *strongest_words(found)]
    if kind != "Evaluation":
        return ()
    whole = found.overall
    share = f"{percentage(whole.accuracy, 2)} % ({percentage(whole.low, 2)} to {percentage(whole.high, 2)} %)"
    return [f"{found.model} is right on {share} of {counted(whole.n, 'problem')} of {found.data}."]


def _reproduced(found: Any) -> str:
    """How many of the published numbers were had here, and how many an honest interval contains."""
    both = [line for line in found.lines if line.published is not None and line.here is not None]
    sure = [line for line in both if line.honest is not None and line.honest.low is not None]
    within = sum(line.honest.low <= line.published <= line.honest.high for line in sure)
    # the published model is another one, so a number outside is no refutation by itself
    return (
        f"{counted(len(both), 'published number')} beside what {found.model} gives; of {len(sure):,} that have an "
        f"interval here, {within:,} lie in it. The published numbers are of another model."
    )


def _assemble(parts: PageParts, found: Any, key: str) -> RunReport:
    effect, question = getattr(found, "effect", None), question_of(found)
    return RunReport(
        key=key,
        title=parts.title,
        question=question,
        # the page of a reproduction names its question below its title
        conditions=[*(line for line in parts.conditions if line != question), *bound_words(found)],
        answers=parts.answers,
        conclusion=getattr(effect, "conclusion", None) or "",
        blocks=parts.blocks,
        notes=parts.notes,
    )


def page_of(found: Any, folder: Path | None = None) -> Page:
    """The page that the command prints, with every row of its tables; DataError of a record that has none."""
    kind = type(found).__name__
    if kind not in PAGES:
        raise DataError(f"There is no report of a {kind}.", "Give the folder of an edit, screen, map, curve or probe.")
    module, name = PAGES[kind]
    make: Callable[..., Page] = getattr(import_module(f"codi_int.cli.{module}"), name)
    if kind == "Screen":
        beside = BesideScreen() if folder is None else beside_screen(folder)
        top = len(found.rows)
        return make(found, beside.agreements, top=top, more=beside.sections(top))
    if kind == "ThoughtMap":
        return make(found, shown=EVERYTHING)
    if kind == "PredictedResult" and folder is not None:
        return confirmed_page([make(found)], confirmation_words(folder, [found]))
    return make(found, found.to_dict()) if kind == "EffectByPath" else make(found)


def _flips(found: Any) -> Flips | None:
    if isinstance(found, Result):
        return flips_of(found)
    keeps_none = type(found).__name__ in ("Screen", "ThoughtMap", "AblationCurve")
    return Flips((), (), NO_ANSWERS) if keeps_none else None


def pictures_of(run: Path, key: str) -> list[Picture]:
    """Its figures; none of a kind that has none."""
    with collect_figures() as drawn:
        try:
            draw_kept(run)
        except DataError:
            # what has no figure, or too little to draw: `left_out` says so
            return []
    return [
        Picture(name, inline_svg(svg, f"{key}-f{number}", f"figure: {name}"))
        for number, (name, svg) in enumerate(drawn.items())
    ]


def _manifest(folder: Path, environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What one looks for first: the command, hashes, versions."""
    manifest = _read_manifest(folder)
    words = manifest.get("command") or []
    rows = [("folder", str(folder)), ("command", shlex.join(map(str, words)))]
    rows += [(name.replace("_", " "), str(value)) for name, value in environment.items() if value is not None]
    return [(name, value) for name, value in rows if value]


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not (folder / MANIFEST).is_file():
        return {}
    return read_json_object(folder / MANIFEST, remedy="Remove it, or run the command again.")


def _manifest_text(folder: Path) -> str:
    found = _read_manifest(folder)
    return json.dumps(found, indent=1, ensure_ascii=False) if found else ""


def _sweep_report(folder: Path, key: str) -> RunReport:
    """A sweep, whose table is no record: its rows as they were written."""
    from codi_int.report.sweep_rows import read_sweep

    data = read_sweep(folder)
    # numbers are rounded for reading; grid.json has them whole
    columns = [name for name in data.rows[0] if not isinstance(data.rows[0][name], dict | list)]
    out = table(*(name.replace("_", " ") for name in columns))
    for row in data.rows:
        out.add_row(*(_short(row.get(name)) for name in columns))
    sites = sorted({str(row["site"]) for row in data.rows})
    title = f"{counted(len(data.rows), 'SAE')} at {counted(len(sites), 'site')}"
    best = max(data.rows, key=lambda row: row["explained_variance"])
    words = (
        f"Most variance is explained by K {best['k']}, d_sae {best['d_sae']} at {best['site']}: "
        f"{percentage(best['explained_variance'])} % of held-out rows' variance."
    )
    parts = take_page_apart(Page(Text(f"{title}\n{data.caption}"), out, Text(words, style="bold")))
    question = "Which size and K describe the activations best, at which site, and what do they cost the model?"
    made = _assemble(parts, None, key)
    notes = _sweep_notes(folder)
    return replace(
        made,
        question=question,
        pictures=pictures_of(folder, key),
        notes=[*parts.notes, *notes],
        manifest=_manifest(folder, {}),
        manifest_text=_manifest_text(folder),
    )


def _sweep_notes(folder: Path) -> Sequence[str]:
    if not (folder / "sweep.json").is_file():
        return ()
    found = read_json(folder / "sweep.json", finite=False)
    return [str(note) for note in found.get("notes", ())] if isinstance(found, dict) else ()


def _short(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return fixed(value, 0) if value.is_integer() else f"{value:.4g}"
    return str(value)
