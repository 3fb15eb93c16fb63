"""Files: whole or not at all, full disks in two lines, and inputs that are wrong named with file, line and rule."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from codi_int import files
from codi_int.errors import ConfigError, DataError, OutputError

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def two_lines(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert len(text.splitlines()) == 2, text
    return text


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*.part")]


# Writing


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "new" / "folder" / "b", b"\x00\xff")
    files.write_text(tmp_path / "t", "é\r\n\n", durable=True)
    files.write_json(tmp_path / "j.json", {"a": [1, 0.5, None]}, indent=1)
    files.write_csv(tmp_path / "c.csv", [{"a": 1, "b": 'x,"\ny'}], ["a", "b"])
    assert (tmp_path / "new" / "folder" / "b").read_bytes() == b"\x00\xff"
    assert (tmp_path / "t").read_bytes() == "é\r\n\n".encode()
    assert (tmp_path / "j.json").read_text() == json.dumps({"a": [1, 0.5, None]}, indent=1) + "\n"
    assert list(files.read_csv(tmp_path / "c.csv")) == [(2, {"a": "1", "b": 'x,"\ny'})]
    assert not leftovers(tmp_path)


def test_nan_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "j.json", float("nan"))
    assert not list(tmp_path.iterdir())


def test_writers_of_others(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from matplotlib.figure import Figure

    tensors, table = {"w": torch.arange(6.0)}, pa.table({"a": [1, 2]})
    files.replace_file(tmp_path / "w.safetensors", lambda part: save_file(tensors, part), durable=True)
    files.replace_file(tmp_path / "w.pt", lambda part: torch.save(tensors, part))
    files.replace_file(tmp_path / "a.parquet", lambda part: pq.write_table(table, part))
    files.replace_file(tmp_path / "f.png", lambda part: Figure().savefig(part, format="png"))
    assert torch.equal(load_file(tmp_path / "w.safetensors")["w"], tensors["w"])
    assert torch.equal(torch.load(tmp_path / "w.pt", weights_only=True)["w"], tensors["w"])
    assert pq.read_table(tmp_path / "a.parquet").equals(table)
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError, SystemExit])
def test_a_stop_leaves_the_old_file(tmp_path: Path, stop: type[BaseException]) -> None:
    def write(part: Path) -> None:
        part.write_text("half")
        raise stop

    files.write_text(tmp_path / "a", "old")
    with pytest.raises(stop):
        files.replace_file(tmp_path / "a", write)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_a_leftover_of_a_kill_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_text("half of an earlier run, longer than the new file")
    files.write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert not leftovers(tmp_path)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    files.write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_devices_stay_devices() -> None:
    files.write_text("/dev/null", "lost")
    assert not Path("/dev/null").is_file()


SAYS_FULL = {
    "OSError": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "quota": OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
    "safetensors": RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    "torch": RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"),
}


@pytest.mark.parametrize("how", SAYS_FULL)
def test_a_full_disk(tmp_path: Path, how: str) -> None:
    def write(part: Path) -> None:
        part.write_text("half")
        raise SAYS_FULL[how]

    for kept in ("No half file is left", "The file that was there is kept"):
        with pytest.raises(OutputError, match="cannot be written to: ") as caught:
            files.replace_file(tmp_path / "a", write, needs=3 * 2**20)
        said = two_lines(caught)
        assert str(tmp_path / "a") in said
        assert "3.0 MiB needed, " in said
        assert "Free some space or give another folder. " + kept in said
        assert not leftovers(tmp_path)
        (tmp_path / "a").write_text("old")


def test_a_disk_that_is_full_only_when_synced_or_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    files.write_text(tmp_path / "a", "old")
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(OutputError, match=r"no space left on device \(3 bytes needed, .* free\)") as caught:
                files.write_text(tmp_path / "a", "new", durable=True)
        two_lines(caught)
        assert (tmp_path / "a").read_text() == "old"
        assert not leftovers(tmp_path)


@needs_full
@pytest.mark.parametrize(
    "write",
    [
        lambda path: files.write_text(path, "text"),
        lambda path: files.write_json(path, {"a": 1}),
        lambda path: files.replace_file(path, lambda part: torch.save({"w": torch.zeros(9)}, part)),
    ],
    ids=["text", "json", "torch"],
)
def test_a_disk_that_is_really_full(tmp_path: Path, write) -> None:
    (tmp_path / "a").symlink_to(FULL)
    with pytest.raises(OutputError, match="cannot be written to: ") as caught:
        write(tmp_path / "a")
    assert "Free some space" in two_lines(caught)
    assert not FULL.is_file()


@needs_full
def test_appending_to_a_full_disk() -> None:
    with (
        pytest.raises(OutputError, match="The last checkpoint is kept") as caught,
        files.explain_output_errors(FULL, kept="The last checkpoint is kept"),
        FULL.open("a") as file,
    ):
        file.write("row\n")
    two_lines(caught)


def test_other_errors_pass_unchanged() -> None:
    for error in (RuntimeError("CUDA error"), OutputError("rule", "remedy"), KeyError("a")):
        with pytest.raises(type(error)) as caught, files.explain_output_errors("place"):
            raise error
        assert caught.value is error


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for attempt in (
        lambda: files.write_text(tmp_path / "file" / "a", ""),
        lambda: files.write_text(tmp_path, ""),
        lambda: files.make_folder(tmp_path / "file"),
        lambda: files.prepare_folder(tmp_path / "file" / "folder"),
    ):
        with pytest.raises(OutputError, match="cannot be written to: ") as caught:
            attempt()
        assert "Give a folder you may write to" in two_lines(caught)
    assert files.prepare_folder(tmp_path / "new" / "folder").is_dir()
    assert not list((tmp_path / "new" / "folder").iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_someone_else(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission denied") as caught:
        files.prepare_folder(tmp_path)
    two_lines(caught)


# Reading

ENCODINGS = {
    "UTF-16 with a mark": ('{"a": 1}'.encode("utf-16"), "it is UTF-16"),
    "UTF-16 without": ('{"a": 1}'.encode("utf-16-le"), "looks like UTF-16"),
    "UTF-32 with a mark": ('{"a": 1}'.encode("utf-32"), "it is UTF-32"),
    "Latin-1": ('{"a":\n "é"}'.encode("latin-1"), "byte 0xe9 in line 2 is no UTF-8; it looks like Windows-1252"),
    "gzip": (b"\x1f\x8b\x08\x00rest", "it is a gzip archive"),
    "binary": (b"abc\0\0\0\xff\xff", "it looks like binary data"),
}


@pytest.mark.parametrize("how", ENCODINGS)
def test_other_encodings_are_named(tmp_path: Path, how: str) -> None:
    content, says = ENCODINGS[how]
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        files.read_json(tmp_path / "a.json")
    assert "a.json" in two_lines(caught)


def test_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfa,b\r\n1,2\r\n")
    assert list(files.read_csv(tmp_path / "a")) == [(2, {"a": "1", "b": "2"})]
    (tmp_path / "a").write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n{"b": 2}\r\n')
    assert list(files.read_json_lines(tmp_path / "a")) == [(1, {"a": 1}), (2, {"b": 2})]


REFUSED = {
    "unfinished": ('{"a": 1,\n "b"', r"cannot be read as JSON: no JSON \(line 2, "),
    "empty": ("", "no JSON"),
    "nested": ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
    "long number": ("[1,\n" + "7" * 5000 + "]", "line 2: a number of 5,000 digits; at most 308"),
    "long negative": ("-" + "7" * 5000, "a number of 5,000 digits"),
    "beyond a float": ("[1e999]", "1e999 is beyond the largest float"),
    "NaN": ('{"a":\n\nNaN}', "line 3: NaN is no JSON number"),
    "Infinity": ("[-Infinity]", "-Infinity is no JSON number"),
    "half a pair": ('{"a": 1,\n"b": "\\uD83D"}', r"line 2: \\ud83d is half a surrogate pair"),
    "half a pair in a key": ('{"\\udc00": 1}', "half a surrogate pair"),
    "two documents": ("{}\n{}", "Extra data"),
}


@pytest.mark.parametrize("how", REFUSED)
def test_json_that_is_refused(tmp_path: Path, how: str) -> None:
    text, says = REFUSED[how]
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        files.read_json(tmp_path / "a.json", error=ConfigError, remedy="Do this.")
    assert two_lines(caught).endswith("\nDo this.")
    if "\n" not in text and text:
        (tmp_path / "a.jsonl").write_text('{"good": 1}\n\n' + text + "\n")
        with pytest.raises(DataError, match=r"a\.jsonl, line 3: ") as caught:
            list(files.read_json_lines(tmp_path / "a.jsonl"))
        two_lines(caught)


def test_json_that_is_legal(tmp_path: Path) -> None:
    values = ["\u2028 \u2029 \x85 \x0b \x0c", "\U0001f600", "\\ud800", 10**307, -(10**300), 1e308, 1e-999, {"": []}]
    for ascii_only in (True, False):
        text = "\n".join(json.dumps(value, ensure_ascii=ascii_only) for value in values)
        (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
        assert [value for _, value in files.read_json_lines(tmp_path / "a.jsonl")] == values


def test_constants_where_the_caller_takes_them(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [NaN, -Infinity, 1e999]}')
    numbers = files.read_json_object(tmp_path / "a.json", finite=False)["a"]
    assert str(numbers) == "[nan, -inf, inf]"


def test_files_that_are_not_there_or_no_object(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[1]")
    for attempt, says in (
        (lambda: files.read_text(tmp_path / "none"), "cannot be read: no such file"),
        (lambda: files.read_json(tmp_path), "cannot be read: is a directory"),
        (lambda: list(files.read_csv(tmp_path / "none")), "cannot be read: no such file"),
        (lambda: files.read_json_object(tmp_path / "list.json"), "holds no JSON object: it is a list"),
    ):
        with pytest.raises(DataError, match=says) as caught:
            attempt()
        two_lines(caught)


def test_csv_lines_are_those_a_row_begins_in(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes('a , b\n"x\ny",1\n\n  ,\nu\u2028v,2\nshort\n'.encode())
    rows = list(files.read_csv(tmp_path / "a.csv"))
    assert rows == [(2, {"a": "x\ny", "b": "1"}), (6, {"a": "u\u2028v", "b": "2"}), (7, {"a": "short"})]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('a,b\n1,2\n3,"4\n5,6\n', "line 3: no CSV .a quote is never closed"),
        ('a,b\n"1"x,2\n', "line 2: no CSV .',' expected after"),
        ("a,b\n1,2\n1,2,3\n", "line 3: 3 fields, but 2 columns are named"),
        ("a,b\n" + "x" * 200_000 + ",1\n", "line 2: no CSV .field larger than field limit"),
    ],
)
def test_csv_that_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=says) as caught:
        list(files.read_csv(tmp_path / "a.csv"))
    assert "a.csv" in two_lines(caught)


def test_a_file_has_the_mode_that_files_have_whoever_writes_it(tmp_path: Path) -> None:
    """safetensors puts a file of mode 600 in the place of the one it was given."""
    (tmp_path / "plain").write_text("")
    (tmp_path / "w.part").touch(0o600)  # left by a run that was killed
    files.replace_file(tmp_path / "w", lambda part: save_file({"a": torch.zeros(2)}, part))
    assert (tmp_path / "w").stat().st_mode == (tmp_path / "plain").stat().st_mode
