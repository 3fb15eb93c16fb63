"""Problems by name or from a file."""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, SupportsIndex, overload

from codi_int.catalog import HUB_SETS
from codi_int.data.rows import problem_from_row
from codi_int.data.stories import CONFIRMATION, SPLIT_SIZES, load_stories
from codi_int.data.story_kinds import KINDS, LONG, story_kind
from codi_int.errors import DataError
from codi_int.files import parse_json, read_csv, read_json_lines, read_text, write_text
from codi_int.types import Problem


class Problems(tuple[Problem, ...]):
    """Problems in a fixed order that know where they come from; as a sequence, the tuple of them.

    A slice is Problems again, with the range behind the name: `stories:validation[100:200]`. Everything that runs on
    problems takes its result's `data` from here where the caller names nothing.
    """

    name: str
    """the data set or the path of the file, with the range of a slice"""

    def __new__(cls, problems: Iterable[Problem], name: str) -> "Problems":
        """The problems under a name."""
        made = super().__new__(cls, problems)
        # past __setattr__, which keeps the name as fixed as the problems themselves
        made.__dict__["name"] = name
        return made

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Problems cannot be changed, so {name!r} cannot be set.")

    @cached_property
    def sha256(self) -> str:
        """The hash of ids, questions and answers, in order; see `problems_sha256`."""
        return problems_sha256(self)

    @overload
    def __getitem__(self, key: SupportsIndex) -> Problem: ...

    @overload
    def __getitem__(self, key: slice) -> "Problems": ...

    def __getitem__(self, key: SupportsIndex | slice) -> "Problem | Problems":
        if not isinstance(key, slice):
            return super().__getitem__(key)
        start, stop, step = key.indices(len(self))
        if (start, stop, step) == (0, len(self), 1):
            return self
        # the range as it was cut to this length, so that [-5:] and [95:100] of 100 problems have one name
        cut = f"[{start}:{stop}]" if step == 1 else f"[{start}:{stop}:{step}]"
        return Problems(super().__getitem__(key), self.name + cut)

    def __reduce__(self) -> tuple[type["Problems"], tuple[tuple[Problem, ...], str]]:
        # a tuple's own way would leave out the name when it is pickled or copied
        return Problems, (tuple(self), self.name)

    def __repr__(self) -> str:
        return f"<Problems {self.name!r}: {len(self)}>"


ProblemsLike = Sequence[Problem] | Problem | str | Sequence[str]
"""problems, one problem, one question, or questions"""
UNKNOWN = math.nan
"""the true answer of a question that somebody typed: no answer is right"""


def as_problems(given: ProblemsLike) -> Sequence[Problem]:
    """The problems that are meant; a question becomes a problem whose true answer nobody knows.

    Raises:
        DataError: something that is neither a problem nor a question, or a question without a word.
    """
    if isinstance(given, Problems):
        return given
    if isinstance(given, str) and _names_a_set(given):
        raise DataError(f"{given!r} is the name of a data set, no question.", f"Give load_problems({given!r}).")
    several = [given] if isinstance(given, Problem | str) else given
    if not isinstance(several, Sequence):
        raise DataError(f"{given!r} are no problems.", "Give load_problems(...), one problem, or a question.")
    return tuple(_problem(one, number) for number, one in enumerate(several, 1))


def _names_a_set(text: str) -> bool:
    """Whether a text is `stories:validation` or `gsm8k:test`; no question is written so."""
    name, colon, split = text.strip().partition(":")
    return bool(colon) and (name in KINDS or name in HUB_SETS) and not split[:1].isspace()


def _problem(given: Any, number: int) -> Problem:
    if isinstance(given, Problem):
        return given
    if not isinstance(given, str):
        raise DataError(f"{given!r} is no problem.", "Give a Problem or the text of a question.")
    if not given.strip():
        raise DataError("A question is empty.", 'Write "Tom has 3 apples ...".')
    return Problem(f"question-{number}", given.strip(), UNKNOWN, ())


def name_of_problems(problems: Sequence[Problem], name: str | None = None) -> str:
    """What a result calls its problems: the name given, else their own, else `unnamed` (a plain list has none)."""
    if name is not None:
        return name
    return problems.name if isinstance(problems, Problems) else "unnamed"


def load_problems(source: str | Path, limit: int | None = None) -> Problems:
    """Problems from a named data set or a file.

    Args:
        source: `stories:validation`, `stories:sae`, `stories:confirmation` (selects nothing; `stories:confirmation/2`
            and on are fresh draws), `stories:train` (needs a limit); the same of the longer stories, such as
            `stories-6:validation`; `gsm8k:test`, `gsm8k:train`, `gsm8k-aug:test`, `svamp:all`, `gsm-hard:test`,
            `multiarith:test` through `datasets`; or the path of a `.jsonl`, `.json`, `.csv` or `.parquet` file with the
            fields of one of these (see `rows.FORMATS`) or our own (question, answer as a number, optionally id and
            steps).
        limit: only the first so many.

    Returns:
        The problems; their name is the source, also where a limit cuts them.

    Raises:
        DataError: the source does not exist or a line of it is no problem; the message names the line.
    """
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}; it must be at least 1.", "Leave it out to take all problems.")
    # a path wins over a name: nobody has a file that is called gsm8k:test, and who has one means it
    text = str(source)
    if text.endswith((".jsonl", ".json", ".csv", ".parquet")) or Path(text).is_file():
        return read_jsonl(Path(text), limit)
    name, _, split = text.partition(":")
    if name in KINDS:
        split = split or "validation"
        return Problems(load_stories(split, limit, story_kind(name)), f"{name}:{split}")
    if name in HUB_SETS:
        return _from_hub(name, split or next(iter(HUB_SETS[name].splits)), limit)
    known = [f"stories:{s}" for s in ("train", *SPLIT_SIZES, CONFIRMATION)]
    known += [f"{LONG.name}:validation"]
    known += [f"{name}:{next(iter(hub.splits))}" for name, hub in HUB_SETS.items()]
    raise DataError(
        f"There is no data set {text!r}.", f"Known: {', '.join(known)}, or the path of a .jsonl or .csv file."
    )


def read_jsonl(path: Path, limit: int | None = None) -> Problems:
    """The problems of a file (JSON lines, a JSON array, CSV or parquet); DataError names the row that is none.

    Nothing is read twice and no more rows are turned into problems than `limit` asks for.
    """
    problems = []
    for number, row in _read_rows(path):
        problems.append(problem_from_row(row, f"{path.stem}-{number}", f"{path}, line {number}"))
        # checked behind the row, so that a file is not read further than its first `limit` problems
        if len(problems) == limit:
            break
    if not problems:
        raise DataError(f"{path} holds no problems.", "Each line, or row, has 'question' and 'answer'.")
    return _unique(problems, str(path))


def write_jsonl(problems: Sequence[Problem], path: Path) -> None:
    """Write problems as JSON lines, which `read_jsonl` reads back."""
    rows = [
        {
            "id": p.id,
            "question": p.question,
            "answer": p.answer,
            "steps": [[s.left, s.operation, s.right, s.result] for s in p.steps],
        }
        for p in problems
    ]
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def problems_sha256(problems: Sequence[Problem]) -> str:
    """A hash of ids, questions and answers: two runs with the same hash saw the same problems in the same order."""
    digest = hashlib.sha256()
    for p in problems:
        # JSON, not joined text: "a", "bc" and "ab", "c" are other problems. The written steps are not hashed, for no
        # model reads them
        digest.update(json.dumps([p.id, p.question, p.answer]).encode())
    return digest.hexdigest()


def _read_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """The rows of a file with the number of their line (or, in an array or a table, of the row)."""
    if path.suffix == ".parquet":
        yield from enumerate(_parquet_rows(path), 1)
        return
    if path.suffix == ".csv":
        # an empty cell is a field that is left out, such as an id or the steps
        yield from ((line, {name: cell for name, cell in row.items() if cell.strip()}) for line, row in read_csv(path))
        return
    # a .json file is an array of rows or, as some data sets are published, JSON lines under another name
    if path.suffix == ".json":
        text = read_text(path)
        if text.lstrip().startswith("["):
            yield from enumerate(parse_json(text, str(path), remedy="Correct the array of rows."), 1)
            return
    yield from read_json_lines(path)


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{path} cannot be read: {reason}.", "Give the path of a .parquet file.") from None
    except pa.ArrowInvalid:
        raise DataError(f"{path} is no parquet file.", "Download it again.") from None
    return rows


def _from_hub(name: str, split: str, limit: int | None) -> Problems:
    hub = HUB_SETS[name]
    if split not in hub.splits:
        raise DataError(
            f"{name}:{split} does not exist: {name} has no split {split!r}.", f"Splits: {', '.join(hub.splits)}."
        )
    try:
        import datasets

        rows = datasets.load_dataset(hub.repository, hub.configuration, split=hub.splits[split])
    except Exception as error:
        missing = isinstance(error, ImportError)
        raise DataError(
            f"{name}:{split} could not be fetched ({type(error).__name__}).",
            f"{'pip install codi-int[data], or download' if missing else 'Without a network, download'} the split from "
            f"https://huggingface.co/datasets/{hub.repository} and give the file's path.",
        ) from error
    # cut before rows become problems: a data set of the hub may have hundreds of thousands
    rows = rows if limit is None else rows.select(range(min(limit, len(rows))))
    return _unique(
        [problem_from_row(row, f"{name}-{split}-{i}", f"{name}:{split}, row {i}") for i, row in enumerate(rows)],
        f"{name}:{split}",
    )


def _unique(problems: list[Problem], where: str) -> Problems:
    """The problems under the name of their source; their ids must differ."""
    seen: set[str] = set()
    for problem in problems:
        if problem.id in seen:
            raise DataError(
                f"{where}: the id {problem.id!r} stands twice.",
                "Ids must be unique; leave them out to number lines.",
            )
        seen.add(problem.id)
    return Problems(problems, where)
