"""Problems by name or from a file."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codi_int.data.answers import parse_steps, to_number
from codi_int.data.stories import SPLIT_SIZES, load_stories
from codi_int.errors import DataError
from codi_int.types import Number, Problem, Step

HUB_SETS = {"gsm8k": ("openai/gsm8k", "main")}
"""name -> (repository, configuration) of the data sets that are read through `datasets`"""


def load_problems(source: str | Path, limit: int | None = None) -> tuple[Problem, ...]:
    """Problems from a named data set or a file.

    Args:
        source: `stories:validation`, `stories:sae`, `stories:train` (needs a limit), `gsm8k:test`, `gsm8k:train`, or
            the path of a `.jsonl` file in GSM8K's format (question, answer with `<<...>>` marks and `####`) or our own
            (question, answer as a number, optionally id and steps).
        limit: only the first so many.

    Raises:
        DataError: the source does not exist or a line of it is no problem; the message names the line.
    """
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}; it must be at least 1.", "Leave it out to take all problems.")
    text = str(source)
    if text.endswith(".jsonl") or Path(text).is_file():
        return read_jsonl(Path(text), limit)
    name, _, split = text.partition(":")
    if name == "stories":
        return load_stories(split or "validation", limit)
    if name in HUB_SETS:
        return _from_hub(name, split or "test", limit)
    known = [f"stories:{s}" for s in ("train", *SPLIT_SIZES)] + [f"{n}:test" for n in HUB_SETS]
    raise DataError(f"There is no data set {text!r}.", f"Known: {', '.join(known)}, or the path of a .jsonl file.")


def read_jsonl(path: Path, limit: int | None = None) -> tuple[Problem, ...]:
    """The problems of a `.jsonl` file, one JSON object a line; DataError names the line that is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise DataError(f"{path} cannot be read: {reason}.", "Give the path of a .jsonl file.") from None
    problems = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            problems.append(_problem(line, f"{path.stem}-{number}", f"{path}, line {number}"))
        if len(problems) == limit:
            break
    if not problems:
        raise DataError(f"{path} holds no problems.", "Each line is an object with 'question' and 'answer'.")
    ids = [problem.id for problem in problems]
    if len(set(ids)) < len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise DataError(
            f"{path}: the id {twice!r} stands twice.", "Ids must be unique; leave them out to number lines."
        )
    return tuple(problems)


def write_jsonl(problems: Sequence[Problem], path: Path) -> None:
    """Write problems in our own format, which `read_jsonl` reads back."""
    rows = [
        {
            "id": p.id,
            "question": p.question,
            "answer": p.answer,
            "steps": [[s.left, s.operation, s.right, s.result] for s in p.steps],
        }
        for p in problems
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def problems_sha256(problems: Sequence[Problem]) -> str:
    """A hash of ids, questions and answers: two runs with the same hash saw the same problems in the same order."""
    digest = hashlib.sha256()
    for p in problems:
        digest.update(json.dumps([p.id, p.question, p.answer]).encode())
    return digest.hexdigest()


def _problem(line: str, default_id: str, where: str) -> Problem:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: no JSON ({error.msg}).", "Each line is one JSON object.") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: an object is wanted, not {type(row).__name__}.")
    for field in ("question", "answer"):
        if field not in row:
            raise DataError(f"{where}: the field {field!r} is missing.", f"Fields there: {', '.join(row) or 'none'}.")
    question = row["question"]
    if not isinstance(question, str) or not question.strip():
        raise DataError(f"{where}: 'question' must be a text that is not empty.")
    written = row["answer"] if isinstance(row["answer"], str) else ""
    steps = _own_steps(row["steps"], where) if "steps" in row else parse_steps(written)
    return Problem(str(row.get("id", default_id)), question.strip(), _answer(row["answer"], where), steps)


def _answer(value: Any, where: str) -> Number:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value) if float(value).is_integer() else value
    if isinstance(value, str):
        final = value.rsplit("####", 1)[-1]
        try:
            return to_number(re.sub(r"[$%\s]", "", final))
        except ValueError:
            pass
    raise DataError(f"{where}: 'answer' gives no number.", "Write a number, or a solution that ends in '#### number'.")


def _own_steps(rows: Any, where: str) -> tuple[Step, ...]:
    try:
        return tuple(Step(left, operation, right, result) for left, operation, right, result in rows)
    except (TypeError, ValueError):
        raise DataError(f"{where}: 'steps' must be a list of [left, operation, right, result].") from None


def _from_hub(name: str, split: str, limit: int | None) -> tuple[Problem, ...]:
    repository, configuration = HUB_SETS[name]
    try:
        import datasets

        rows = datasets.load_dataset(repository, configuration, split=split)
    except ValueError:
        raise DataError(f"{name} has no split {split!r}.", "Splits: train, test.") from None
    except Exception as error:
        raise DataError(
            f"{name}:{split} could not be fetched ({type(error).__name__}).",
            f"Without a network, save the split of {repository} as a .jsonl file and give its path.",
        ) from error
    rows = rows if limit is None else rows.select(range(min(limit, len(rows))))
    return tuple(
        _problem(json.dumps(row), f"{name}-{split}-{i}", f"{name}:{split}, row {i}") for i, row in enumerate(rows)
    )
