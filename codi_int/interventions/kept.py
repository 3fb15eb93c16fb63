"""Findings on disk from Python: written as `--out` writes them, and read back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from codi_int.errors import DataError
from codi_int.files import prepare_folder, read_json_object
from codi_int.interventions.engine.documents import save_document
from codi_int.interventions.engine.store import FAMILY, OUTCOMES, RESULT, save_family, save_result
from codi_int.interventions.engine.summary import ResultFamily
from codi_int.interventions.evaluation import Evaluation
from codi_int.interventions.patching.predicted import PredictedResult
from codi_int.interventions.patching.predicted_store import PREDICTIONS, save_predicted
from codi_int.interventions.patching.predictions import Prediction
from codi_int.interventions.screens.curves import AblationCurve
from codi_int.interventions.screens.dictionaries import DictionaryComparison, SeedComparison
from codi_int.interventions.screens.paths import PATHS, EffectByPath
from codi_int.interventions.screens.screen import Screen
from codi_int.interventions.screens.thought_map import ThoughtMap
from codi_int.interventions.stopping import EarlyStopping, StopOutcome
from codi_int.records import flatten, plain_row, table_row, unflatten
from codi_int.run_folder import Run, RunFolder, is_newer
from codi_int.shown import Finding
from codi_int.types import Number, Outcome, Result

Kept = Finding
"""what can be kept: a `Result`, `Screen`, `ThoughtMap`, `AblationCurve`, ...; each says its schema in `to_dict`"""
KINDS: dict[str, tuple[str, type[Any]]] = {
    "codi-int/screen@1": ("screen", Screen),
    "codi-int/map@1": ("map", ThoughtMap),
    "codi-int/curve@1": ("curve", AblationCurve),
    "codi-int/evaluation@1": ("evaluation", Evaluation),
    "codi-int/roads@1": ("roads", EffectByPath),
    "codi-int/seeds@1": ("seeds", SeedComparison),
    "codi-int/against@1": ("against", DictionaryComparison),
    "codi-int/stop@1": ("stop", EarlyStopping),
}
"""schema to the name of the document and its record; a result has outcomes besides"""
LATER_KINDS = {
    "codi-int/comparison@1": ("comparison", "codi_int.runs.compare", "RunComparison"),
    "codi-int/probe@1": ("probe", "codi_int.probes.records", "ProbeMap"),
    "codi-int/reproduction@1": ("reproduction", "codi_int.runs.reproduction", "Reproduction"),
}
"""the same for records of packages that come after this one: with the module that has it, loaded where it is met"""


MOST_NAMED = 4
"""folders with results that an error names"""


def save_finding(found: Kept, folder: str | Path, force: bool = False) -> Path:
    """Write a finding with its tables into a folder; a folder of another run is refused.

    Raises:
        OutputError: the folder cannot be written to, or holds another run and `force` is not set.
    """
    document = found.to_dict()
    place = RunFolder(folder, _identity(document), force, "give force=True")
    place.check()
    prepare_folder(folder)
    with place.hold():
        place.claim(**_hashes(document))
        place.clear()
        place.finish(_write(found, document, Path(folder)))
    return Path(folder)


def load_result(folder: str | Path) -> Kept:
    """What `save`, or a command with `--out`, has kept: a result with its outcomes, a screen, a map, a curve, ...

    Raises:
        DataError: nothing of that kind there, or files that are not whole.
    """
    folder = Path(folder)
    names = [RESULT, *(f"{name}.json" for name, *_ in (*KINDS.values(), *LATER_KINDS.values()))]
    if folder.is_file() and folder.name in names:
        # the document in the place of its folder, which may hold several
        folder, names = folder.parent, [folder.name]
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise _nothing_in(folder, names)
    document = read_json_object(found, remedy="Run the command again.")
    if any(is_newer(document.get("schema"), known) for known in (Result.schema, *KINDS, *LATER_KINDS)):
        raise DataError(
            f"{found} is of schema {document['schema']!r}, newer than this program knows.",
            "Install the release that wrote it.",
        )
    try:
        if found.name == RESULT:
            return _read_result(folder, document)
        kind = _kind_of(document["schema"])
        record: Kept = unflatten(kind, _known(kind, document))
        if isinstance(record, EarlyStopping) and (folder / OUTCOMES).is_file():
            rows = [{**row, "answer": _number(row["answer"])} for row in _read_table(folder / OUTCOMES)]
            record = replace(record, outcomes=tuple(StopOutcome(**row) for row in rows))
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise DataError(f"{found} is not whole: {error!r}.", "Run the command again.") from None
    return record


def _kind_of(schema: str) -> Any:
    """The record of a schema; KeyError where there is none."""
    if schema in KINDS:
        return KINDS[schema][1]
    _, module, name = LATER_KINDS[schema]
    return getattr(import_module(module), name)


def _nothing_in(folder: Path, names: Sequence[str]) -> DataError:
    """That a folder holds no result, and where there are some."""
    if not folder.exists():
        return DataError(f"{folder} does not exist.", "Give a folder that save, or a command with --out, has kept.")
    if not folder.is_dir():
        return DataError(f"{folder} is a file.", f"Give the folder of the run, such as {folder.parent}.")
    inside = sorted(path for path in folder.glob("*") if any((path / name).is_file() for name in names))
    if not inside:
        return DataError(f"{folder} holds no result: none of {', '.join(names)}.", "Give a folder that was kept.")
    what = "a family of edits has a folder for each of them" if (folder / FAMILY).is_file() else "its folders do"
    named = ", ".join(str(path) for path in inside[:MOST_NAMED]) + (", ..." if len(inside) > MOST_NAMED else "")
    return DataError(f"{folder} holds no result itself; {what}.", f"Give one of {named}.")


def table_of(found: Kept) -> list[dict[str, Any]]:
    """The rows of a finding, as its kept table has them: problems of a result, features of a screen, cells of a map."""
    kind = type(found)
    # a record of a later package brings its own
    rows: list[dict[str, Any]] = _TABLES[kind](found) if kind in _TABLES else found.table_rows()  # type: ignore[attr-defined]
    return rows


def _write(found: Kept, document: Mapping[str, Any], folder: Path) -> list[str]:
    """Its files; returns their names."""
    if isinstance(found, PredictedResult):
        save_predicted(found, folder)
        return [RESULT, OUTCOMES, PREDICTIONS]
    if isinstance(found, Result):
        save_result(found, folder)
        return [RESULT, OUTCOMES]
    if isinstance(found, ResultFamily):
        parts = [str(number) for number, _ in enumerate(found.results, 1)]
        save_family(found, parts, folder)
        return [FAMILY, *(f"{part}/{name}" for part in parts for name in (RESULT, OUTCOMES, "manifest.json"))]
    schema = str(document["schema"])
    name = KINDS[schema][0] if schema in KINDS else LATER_KINDS[schema][0]
    tables = {} if isinstance(found, Evaluation | EffectByPath) else {name: table_of(found)}
    if isinstance(found, Screen):
        tables["pairs"] = [plain_row(row) for row in found.pairs]
    if isinstance(found, ThoughtMap):
        tables["splits"] = [table_row(row) for row in found.splits]
        if found.contexts:
            tables["contexts"] = [table_row(cell) for cell in found.contexts]
    if isinstance(found, SeedComparison | DictionaryComparison):
        tables |= _more_tables(found)
    if isinstance(found, EarlyStopping):
        tables |= stop_tables(found)
    return save_document(folder, name, document, tables)


def stop_tables(found: EarlyStopping) -> dict[str, list[dict[str, Any]]]:
    """What lies beside the document of early stopping: what each thought changes, and every answer."""
    # answers as floats, as those of a result: whole and broken numbers are one column
    rows = [
        {**row, "answer": None if row["answer"] is None else float(row["answer"])} for row in flatten(found.outcomes)
    ]
    return {"changes": flatten(found.changes), "outcomes": rows}


def write_tables(found: SeedComparison | DictionaryComparison, name: str, folder: Path) -> list[str]:
    """What a screen has beside it, as a document and its tables in the screen's folder; returns their names."""
    return save_document(folder, name, found.to_dict(), {name: table_of(found), **_more_tables(found)})


def _more_tables(found: SeedComparison | DictionaryComparison) -> dict[str, list[dict[str, Any]]]:
    if isinstance(found, DictionaryComparison):
        return {"strongest": [_numbers(row) for row in found.strongest]}
    return {
        "agreements": [_numbers(row) for row in found.agreements],
        "found": [flatten(row) for row in found.found],
    }


def _numbers(row: Any) -> dict[str, Any]:
    """A row whose estimates become a column each for value, low and high."""
    out: dict[str, Any] = {}
    for name, value in flatten(row).items():
        if isinstance(value, dict) or (value is None and name in ("chance", "beyond_chance")):
            ends = {key: None if value is None else value[key] for key in ("estimate", "low", "high")}
            out |= {f"{name}_{key}".removesuffix("_estimate"): part for key, part in ends.items()}
        else:
            out[name] = value
    return out


def _identity(document: Mapping[str, Any]) -> Run:
    """By what was done and on what; not by what came out."""
    first = document["results"][0] if "results" in document else document
    plain = {key: value for key, value in first.items() if isinstance(value, str | int | bool | type(None))}
    # of a result what was done; of a published experiment its name alone
    done = found if isinstance(found := first.get("experiment"), Mapping) else plain
    given = [result["experiment"] for result in document.get("results", ())]
    return Run(f"save {document['schema']}", {"the experiment": given or {**done, "site": document.get("site")}})


def _hashes(document: Mapping[str, Any]) -> dict[str, str]:
    first = document["results"][0] if "results" in document else document
    environment = first.get("environment") or {}
    return {name: environment[f"{name}_sha256"] for name in ("model", "sae", "data") if f"{name}_sha256" in environment}


def _known(kind: type[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Without the schema, and without what a command has put beside the record."""
    # `columns` has documents' own names for some fields
    names = dict.fromkeys([*(field.name for field in fields(kind)), *getattr(kind, "columns", ())])
    return {name: document[name] for name in names if name in document}


def _read_result(folder: Path, document: Mapping[str, Any]) -> Result:
    outcomes: dict[str, list[Outcome]] = {}
    for row in _read_table(folder / OUTCOMES):
        arm, row["answer"] = row.pop("arm"), _number(row["answer"])
        outcomes.setdefault(arm, []).append(Outcome(**row))
    whole = {arm: tuple(rows) for arm, rows in outcomes.items()}
    if not (folder / PREDICTIONS).is_file():
        return unflatten(Result, {**_known(Result, document), "outcomes": whole})
    predictions = tuple(
        Prediction(
            problem_id=row["problem_id"],
            answer=_number(row["predicted"]),
            informative=row["informative"],
            why_not=row["why_not"],
            ambiguous=row.get("ambiguous", False),
            source_id=row["source_id"],
            source_answer=_number(row["source_answer"]),
        )
        for row in _read_table(folder / PREDICTIONS)
    )
    return unflatten(
        PredictedResult, {**_known(PredictedResult, document), "outcomes": whole, "predictions": predictions}
    )


def _read_table(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def _number(value: float | None) -> Number | None:
    """An answer of a column of floats; whole ones were whole."""
    return int(value) if value is not None and value.is_integer() else value


def _problems(found: Result) -> list[dict[str, Any]]:
    """A row for each problem: what each arm answered."""
    arms = found.outcomes
    return [
        {
            "problem_id": rows[0].problem_id,
            **{f"{arm}_answer": row.answer for arm, row in zip(arms, rows, strict=True)},
            **{f"{arm}_correct": row.correct for arm, row in zip(arms, rows, strict=True)},
            **{f"{arm}_logprob": row.answer_logprob for arm, row in zip(arms, rows, strict=True)},
            "touched": rows[-1].touched,
        }
        for rows in zip(*arms.values(), strict=True)
    ]


def _edits(found: ResultFamily) -> list[dict[str, Any]]:
    """A row for each edit."""
    return [
        {
            "edit": result.experiment.label,
            "factor": result.experiment.factor,
            **{name: getattr(result.effect, name) for name in ("estimate", "low", "high", "n_broken", "n_fixed")},
            "p_value": result.effect.p_value,
            "p_adjusted": p,
        }
        for result, p in zip(found.results, found.p_adjusted, strict=True)
    ]


def _points(found: AblationCurve) -> list[dict[str, Any]]:
    """A row for each point; `draw` is empty for the top features."""
    top: list[dict[str, Any]] = [{"set": "top", "draw": None, **flatten(point)} for point in found.top]
    drawn = enumerate(found.random)
    return top + [{"set": "random", "draw": i, **flatten(point)} for i, line in drawn for point in line]


def _paths(found: EffectByPath) -> list[dict[str, Any]]:
    """A row for each path, and one for what the two do not add up to."""
    effects = {path: getattr(found, path) for path in PATHS}
    measured = {path: (effect, effect.logprob) for path, effect in effects.items()}
    rows = {**measured, "both - (cache + recurrence)": (found.interaction, found.interaction_logprob)}
    numbers = ("estimate", "low", "high", "p_value")
    return [
        {
            "path": path,
            **{name: getattr(accuracy, name) for name in numbers},
            "n_broken": getattr(accuracy, "n_broken", None),
            "n_fixed": getattr(accuracy, "n_fixed", None),
            **{f"logprob_{name}".removesuffix("_estimate"): getattr(logprob, name, None) for name in numbers},
        }
        for path, (accuracy, logprob) in rows.items()
    ]


def _groups(found: Evaluation) -> list[dict[str, Any]]:
    """A row for each group of problems."""
    several = (found.by_steps, found.by_operation, found.thoughts_replaced, found.written_chain)
    return [flatten(row) for row in (found.overall, *(row for rows in several for row in rows))]


_TABLES: dict[type[Any], Callable[[Any], list[dict[str, Any]]]] = {
    Result: _problems,
    PredictedResult: _problems,
    ResultFamily: _edits,
    Screen: lambda found: [plain_row(row) for row in found.rows],
    ThoughtMap: lambda found: [table_row(cell) for cell in found.cells],
    AblationCurve: _points,
    Evaluation: _groups,
    EffectByPath: _paths,
    SeedComparison: lambda found: [flatten(row) for row in found.rows],
    DictionaryComparison: lambda found: [_numbers(row) for row in found.rows],
    EarlyStopping: lambda found: flatten(found.all_rows),
}
