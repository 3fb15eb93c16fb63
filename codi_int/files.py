"""Files: written whole or not at all, read with errors that name file, line and rule.

Every file goes through `replace_file` or a short form of it, but for two that grow: captures, and the curve of a
training. A failure is an `OutputError` that says which place, what it needed where that is known, and what is kept.
JSON, JSONL and CSV that a user may have written have one reader each; `error=` is its error, `remedy=` the second line.
"""

import csv
import errno
import io
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from codi_int.errors import CodiError, DataError, OutputError

PART = ".part"
"""what the name of a file ends in while it is being written"""
MOST_DIGITS = 308
"""longest whole number that is read: a longer one has no float, and `math.isfinite` raises on it"""

# `torch.save` and safetensors do not raise OSError where the system refuses. These are their words for it: safetensors'
# Rust errors end in "(os error 28)"; torch's zip writer notices a short write by "unexpected pos 64 vs 0" or by name.
DISK_WORDS = ("os error", "no space left", "pytorchstreamwriter", "unexpected pos", "parent directory", "iostream")
FULL_WORDS = ("os error 28", "os error 27", "no space left", "unexpected pos", "iostream")

# Byte order marks, longest first: UTF-32's little-endian mark begins with UTF-16's.
MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
MAGIC = {b"\x1f\x8b": "a gzip archive", b"PK\x03\x04": "a zip archive", b"PAR1": "a parquet file"}
ErrorClass = type[CodiError]
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


# Writing


def replace_file(
    path: str | Path, write: Callable[[Path], object], *, needs: int | None = None, durable: bool = False
) -> Path:
    """Let `write` fill a file beside `path` and move it there: a reader sees the old file or the new one.

    Args:
        path: where to; its folder is made where missing.
        write: called with the path that it is to write to, such as `lambda part: save_file(tensors, part)`. Its name
            ends in `.part`, so give `format=` to what looks at the ending, such as matplotlib.
        needs: bytes that it takes, where that is known; for the message.
        durable: wait until the disk has it; for what a later run goes on from.

    Raises:
        OutputError: a full disk, a folder that cannot be written to. The file that was there is untouched.
    """
    path = Path(path)
    with explain_output_errors(path, needs=needs):
        # A link stays a link: os.replace would put a file in its place and leave the target old.
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if target.exists() and not target.is_file():
            # A device or a pipe. Moving a file over /dev/null as root would replace the device for everybody.
            write(target)
            return path
        target.parent.mkdir(parents=True, exist_ok=True)
        # One name for each file, not one for each process: what a kill leaves behind is overwritten by the next run.
        # The name also decides the folder inside torch's zip files, hence their bytes: `a.pt.part` gives `a.pt`.
        part = target.with_name(target.name + PART)
        try:
            # safetensors puts a file of mode 600 in the place, and a group could not read what it shares
            part.unlink(missing_ok=True)
            part.touch()
            mode = part.stat().st_mode
            write(part)
            part.chmod(mode)
            if durable:
                _sync(part)
            os.replace(part, target)
        except BaseException:  # Ctrl-C too: half a file of some gigabytes is not to stay
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        if durable:
            _sync(target.parent)  # the move itself lives in the folder
    return path


def write_bytes(path: str | Path, content: bytes | Callable[[BinaryIO], object], *, durable: bool = False) -> Path:
    """Write `content`, or what it puts into the buffer it is given, in one go; OutputError as for `replace_file`."""
    if not isinstance(content, bytes):
        # made in memory first, so that an error can say how much it needs
        content(buffer := io.BytesIO())
        return write_bytes(path, buffer.getvalue(), durable=durable)
    return replace_file(path, lambda part: part.write_bytes(content), needs=len(content), durable=durable)


def write_text(path: str | Path, text: str, *, durable: bool = False) -> Path:
    r"""Write text as UTF-8 in one go, line ends as they are; OutputError as for `replace_file`."""
    # bytes, for text mode would turn "\n" into "\r\n" on Windows, and hashes of results would differ between machines
    return write_bytes(path, text.encode(), durable=durable)


def write_json(
    path: str | Path, document: Any, *, indent: int | None = None, allow_nan: bool = False, durable: bool = False
) -> Path:
    """Write a JSON document and a line end in one go; OutputError as for `replace_file`, and ValueError for NaN and
    Infinity, which JSON does not have, unless `allow_nan`.
    """
    return write_text(path, json.dumps(document, indent=indent, allow_nan=allow_nan) + "\n", durable=durable)


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Path:
    """Write a table with a line of column names in one go; OutputError as for `replace_file`."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(columns))
    writer.writeheader()
    writer.writerows(rows)
    return write_text(path, text.getvalue())


def make_folder(folder: str | Path) -> Path:
    """The folder, made where missing; OutputError where it cannot be."""
    with explain_output_errors(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)


def prepare_folder(folder: str | Path) -> Path:
    """The folder, made where missing and tried; OutputError where nothing can be written there.

    Called before a run, so that nobody waits for a result that cannot be kept.
    """
    folder = make_folder(folder)
    probe = folder / ".codi-int-probe"
    # A mode or an owner tells too little: root may write anywhere, yet not on a read-only mount.
    with explain_output_errors(folder):
        probe.write_bytes(b"")
        probe.unlink()
    return folder


@contextmanager
def explain_output_errors(place: str | Path, *, needs: int | None = None, kept: str = "") -> Iterator[None]:
    """Turn what the system says about writing to `place` into an OutputError of two lines.

    Args:
        place: the file or folder.
        needs: bytes that it takes, where that is known.
        kept: what of the work is safe, such as `The rows up to here are kept`; by default said of the file.
    """
    existed = Path(place).is_file()
    try:
        yield
    except CodiError:
        raise
    except Exception as error:
        if not _is_disk_error(error):
            raise
        kept = kept or ("The file that was there is kept" if existed else "No half file is left")
        advice = "Free some space or give another folder." if _is_full(error) else "Give a folder you may write to."
        raise OutputError(
            f"{place} cannot be written to: {_reason(error)}{_free_space(error, Path(place), needs)}.",
            f"{advice} {kept.rstrip('.')}.",
        ) from None


def _sync(path: Path) -> None:
    """Wait until the disk holds a file or a folder; some file systems cannot do that for folders."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # EINVAL: this file system has no fsync for it. A full disk may show up only here, and is an error.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def _is_disk_error(error: Exception) -> bool:
    return isinstance(error, OSError) or any(word in str(error).lower() for word in DISK_WORDS)


def _is_full(error: Exception) -> bool:
    """Whether the disk, the user's share of it, or the largest file that either allows is full."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return any(word in str(error).lower() for word in FULL_WORDS)


def _reason(error: Exception) -> str:
    if _is_full(error) and not isinstance(error, OSError):
        return "not all of it could be written, as on a full disk"
    said = getattr(error, "strerror", None) or (str(error).strip().splitlines() or [type(error).__name__])[0]
    return str(said).rstrip(".").lower() if isinstance(error, OSError) else str(said).rstrip(".")


def _free_space(error: Exception, place: Path, needs: int | None) -> str:
    """How much is needed and how much is free, where the disk is full."""
    if not _is_full(error):
        return ""
    folder = next((folder for folder in (place, *place.parents) if folder.is_dir()), Path())
    with suppress(OSError):
        free = f"{_size(shutil.disk_usage(folder).free)} free"
        return f" ({free})" if needs is None else f" ({_size(needs)} needed, {free})"
    return ""


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:,.1f} MiB" if n_bytes >= 2**20 else f"{n_bytes:,} bytes"


# Reading


def read_text(path: str | Path, *, error: ErrorClass = DataError, remedy: str = "Check the path.") -> str:
    """The text of a UTF-8 file, without its byte order mark.

    Raises:
        error: a file that cannot be read, or is in another encoding; says which, as far as bytes tell.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as failure:
        reason = (failure.strerror or str(failure)).lower()
        raise error(f"{path} cannot be read: {reason}.", remedy) from None
    if content.startswith(b"\xef\xbb\xbf"):  # what Excel and Notepad put before UTF-8
        content = content[3:]
    try:
        text = content.decode()
    except UnicodeDecodeError as failure:
        raise error(f"{path} cannot be read: {_other_encoding(content, failure)}.", "Save it as UTF-8 text.") from None
    if "\0" in text[:4]:  # ASCII characters in UTF-16 without a mark are valid UTF-8, every second one a zero
        raise error(f"{path} cannot be read: it looks like UTF-16, not UTF-8.", "Save it as UTF-8 text.")
    return text


def read_lines(
    path: str | Path, *, error: ErrorClass = DataError, remedy: str = "Check the path."
) -> Iterator[tuple[int, str]]:
    r"""(number, line) of every line that is not blank, counted from 1.

    Lines end at "\n" (or "\r\n") only. `str.splitlines` would also break at U+2028, U+0085 and seven others, which
    JSON allows inside of a string.

    Raises:
        error: as for `read_text`.
    """
    for number, line in enumerate(read_text(path, error=error, remedy=remedy).split("\n"), 1):
        if line.strip():
            yield number, line.removesuffix("\r")


def read_json(
    path: str | Path, *, error: ErrorClass = DataError, remedy: str = "Give a JSON file.", finite: bool = True
) -> Any:
    """The JSON document in a file; see `parse_json` for what is refused."""
    text = read_text(path, error=error, remedy=remedy)
    return parse_json(text, f"{path} cannot be read as JSON", error=error, remedy=remedy, finite=finite)


def read_json_object(
    path: str | Path, *, error: ErrorClass = DataError, remedy: str = "Give a JSON file.", finite: bool = True
) -> dict[str, Any]:
    """The JSON object in a file; another kind of document is an `error` too."""
    document = read_json(path, error=error, remedy=remedy, finite=finite)
    if not isinstance(document, dict):
        raise error(f"{path} holds no JSON object: it is a {type(document).__name__}.", remedy)
    return document


def read_json_lines(
    path: str | Path, *, error: ErrorClass = DataError, remedy: str = "Each line is one JSON object."
) -> Iterator[tuple[int, Any]]:
    """(line, value) of a file with one JSON value a line; blank lines are passed over. `error` as for `read_text` and
    `parse_json`, when the line is reached; names the line.
    """
    for number, line in read_lines(path, error=error, remedy=remedy):
        yield number, parse_json(line, f"{path}, line {number}", error=error, remedy=remedy)


def read_csv(
    path: str | Path, *, error: ErrorClass = DataError, remedy: str = "Correct the line."
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row by column name) of a CSV file whose first line names the columns.

    The line is the one a row begins in: a quoted field may hold line ends. A short row lacks the last columns.

    Raises:
        error: as for `read_text`; a quote that never ends, a row of more fields than columns; names the line.
    """
    # newline="\n": StringIO's other settings would cut lines at a lone "\r" or change it inside of quotes
    text = io.StringIO(read_text(path, error=error, remedy=remedy), newline="\n")
    reader = csv.reader(text, strict=True)  # without `strict` a quote that never ends swallows the rest of the file
    columns: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as failure:
            rule = "a quote is never closed" if "end of data" in str(failure) else str(failure)
            raise error(f"{path}, line {line}: no CSV ({rule}).", remedy) from None
        if row is None:
            return
        if not any(field.strip() for field in row):
            continue
        if columns is None:
            columns = [name.strip() for name in row]
            continue
        if len(row) > len(columns):
            raise error(f"{path}, line {line}: {len(row)} fields, but {len(columns)} columns are named.", remedy)
        yield line, dict(zip(columns, row, strict=False))


def parse_json(
    text: str, where: str, *, error: ErrorClass = DataError, remedy: str = "Correct the file.", finite: bool = True
) -> Any:
    """The value that a JSON text stands for.

    Args:
        text: the text.
        where: what its place is called in an error, such as `p.jsonl, line 3`.
        error: class of errors.
        remedy: their second line.
        finite: refuse NaN, Infinity and numbers beyond a float such as 1e999, which arithmetic would spread silently.

    Raises:
        error: no JSON, nested too deeply, a number of more than `MOST_DIGITS` digits, half a surrogate pair.
    """
    try:
        value = json.loads(
            text,
            parse_int=_whole,
            parse_float=_finite if finite else None,
            parse_constant=_refuse_constant if finite else None,
        )
        if SURROGATE.search(text):
            # Python keeps half a pair, and fails far from here: when it is printed, hashed or tokenised.
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as failure:
        line = f"line {failure.lineno}, " if "\n" in text.strip() else ""
        raise error(f"{where}: no JSON ({line}{failure.msg}).", remedy) from None
    except _RefusedError as failure:
        raise error(f"{where}: {_line_of(failure.found, text)}{failure}.", remedy) from None
    except RecursionError:
        raise error(f"{where}: no JSON that can be read (nested too deeply).", remedy) from None
    except UnicodeEncodeError as failure:
        half = f"\\u{ord(failure.object[failure.start]):04x}"
        raise error(f"{where}: {_line_of(half, text)}{half} is half a surrogate pair.", remedy) from None
    return value


class _RefusedError(Exception):
    """A number that JSON or we do not take."""

    def __init__(self, rule: str, found: str) -> None:
        super().__init__(rule)
        self.found = found


def _whole(text: str) -> int:
    # Python itself stops at 4,300 digits, with a ValueError that names neither file nor line.
    if len(text) > MOST_DIGITS:
        raise _RefusedError(f"a number of {len(text.lstrip('-')):,} digits; at most {MOST_DIGITS} are read", text)
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _RefusedError(f"{text[:20]} is beyond the largest float, 1.8e308", text)
    return value


def _refuse_constant(text: str) -> NoReturn:
    raise _RefusedError(f"{text} is no JSON number", text)


def _line_of(found: str, text: str) -> str:
    """`line 3: ` for the first place of `found` in a text of several lines."""
    at = text.lower().find(found.lower())
    return f"line {text.count(chr(10), 0, at) + 1}: " if at >= 0 and "\n" in text.strip() else ""


def _other_encoding(content: bytes, failure: UnicodeDecodeError) -> str:
    """What a file is that is no UTF-8."""
    for mark, name in MARKS.items():
        if content.startswith(mark):
            return f"it is {name}, not UTF-8"
    for mark, name in MAGIC.items():
        if content.startswith(mark):
            return f"it is {name}, not UTF-8 text"
    line = content.count(b"\n", 0, failure.start) + 1
    what = f"byte 0x{content[failure.start]:02x} in line {line} is no UTF-8"
    # Every byte is some character in Latin-1, so it is a guess; control characters speak for binary data instead.
    binary = b"\0" in content[:4096]
    return f"{what}; it looks like {'binary data' if binary else 'Windows-1252 or Latin-1'}"
