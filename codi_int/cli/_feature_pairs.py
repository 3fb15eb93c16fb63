"""A file of pairs of features, as `screen --pairs` takes it."""

from pathlib import Path

from codi_int.errors import CodiError, DataError
from codi_int.files import parse_json, read_lines

PAIRS_REMEDY = 'Write one pair a line, 449,332 or {"a": 449, "b": 332}.'


def load_feature_pairs(path: Path) -> tuple[tuple[int, int], ...]:
    """The pairs in a file; a first line `a,b` and empty lines are passed over.

    Raises:
        DataError: for a file that cannot be read, holds no pair, or a line that is none.
    """
    numbered = [(number, line.strip()) for number, line in read_lines(path, remedy=PAIRS_REMEDY)]
    # the heading is optional: a spreadsheet writes one, a shell loop does not
    if numbered and numbered[0][1].replace(" ", "").lower() == "a,b":
        numbered = numbered[1:]
    if not numbered:
        raise DataError(f"Pairs file {path} holds no pair.", PAIRS_REMEDY)
    return tuple(_pair(path, number, line) for number, line in numbered)


def _pair(path: Path, number: int, line: str) -> tuple[int, int]:
    try:
        if line.startswith(("{", "[")):
            found = parse_json(line, f"Line {number} of {path}")
            values = [found["a"], found["b"]] if isinstance(found, dict) else found
        else:
            values = [int(word) for word in line.split(",")]
        # one unpacking checks the length of both kinds of line; a wrong one is a ValueError as below
        a, b = values
    except (ValueError, KeyError, TypeError, CodiError):
        raise DataError(f"Line {number} of {path} is no pair of features: {line[:40]!r}.", PAIRS_REMEDY) from None
    # `type is int` and not isinstance: JSON's true is an int to isinstance, and would be read as feature 1
    if not all(type(value) is int and value >= 0 for value in (a, b)):
        raise DataError(f"Line {number} of {path} needs two whole numbers from 0 upwards: {line[:40]!r}.", PAIRS_REMEDY)
    return a, b
