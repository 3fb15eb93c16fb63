"""`codi-int shell` and `--memory`: what is kept, between commands and within one, and that it changes no result."""

import io
import json
import sys
from collections.abc import Callable, Iterator

import pytest

from codi_int.cli import _sites
from codi_int.model.hooked import CodiModel
from tests.cli.conftest import Ran, Shelf

TIMES = {"seconds", "problems_per_second"}


@pytest.fixture
def type_lines(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Ran]]:
    """Runs the shell on some lines."""

    def typed(*lines: str) -> Ran:
        monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines)))
        return run("shell")

    yield typed
    assert _sites._warm is None


def edit(shelf: Shelf, feature: int, *more: str) -> str:
    words = ("ablate", "--feature", str(feature), "--layer", "2", "--controls", "3", "--json", *more)
    return " ".join((*words, "--model", shelf.model, "--sae", shelf.sae, "--data", shelf.data))


def untimed(document: object) -> object:
    """A document without what the clock says."""
    if isinstance(document, dict):
        return {key: untimed(value) for key, value in document.items() if key not in TIMES}
    return [untimed(value) for value in document] if isinstance(document, list) else document


def forget(document: object, key: str) -> None:
    """Remove a key wherever it stands."""
    if isinstance(document, dict):
        document.pop(key, None)
    for part in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        forget(part, key)


def documents(ran: Ran) -> list[object]:
    return [untimed(json.loads(line)) for line in ran.out.splitlines()]


def test_what_it_keeps_changes_no_result(run: Callable[..., Ran], type_lines: Callable[..., Ran], shelf: Shelf) -> None:
    lines = [edit(shelf, 3), edit(shelf, 7, "--seed", "1"), edit(shelf, 3)]
    alone = [documents(run(*line.split()))[0] for line in lines]
    ran = type_lines(*lines)
    assert (ran.code, documents(ran)) == (0, alone)


def test_questions_are_read_once(type_lines: Callable[..., Ran], shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    plain = CodiModel.prefill

    def counted(model: CodiModel, *given: object, **named: object) -> object:
        calls.append(1)
        return plain(model, *given, **named)

    monkeypatch.setattr(CodiModel, "prefill", counted)
    type_lines(edit(shelf, 3))
    once = len(calls)
    assert once
    type_lines(edit(shelf, 3), edit(shelf, 5), "codi-int " + edit(shelf, 7, "--propagate", "cache"))
    assert len(calls) == 2 * once
    # other problems are another clean pass
    type_lines(edit(shelf, 3), edit(shelf, 3, "--limit", "5"))
    assert len(calls) > 3 * once


def test_errors_do_not_end_it_and_are_its_exit_code(type_lines: Callable[..., Ran], shelf: Shelf) -> None:
    lines = ("", "# a comment", edit(shelf, 99), "shell", 'ablate "', "ablat", edit(shelf, 3), "exit", "doctor")
    ran = type_lines(*lines)
    assert ran.code == 2
    assert len(documents(ran)) == 1
    assert "This is a shell already." in ran.err
    assert "Close the quotes." in ran.err
    assert "ablat" in ran.err


def test_a_folder_that_changed_is_loaded_anew(shelf: Shelf) -> None:
    from pathlib import Path

    with _sites.kept_warm():
        first = _sites.open_model(shelf.model, "cpu")
        assert _sites.open_model(shelf.model, "cpu") is first
        Path(shelf.model, "note.txt").write_text("new")
        try:
            assert _sites.open_model(shelf.model, "cpu") is not first
        finally:
            Path(shelf.model, "note.txt").unlink()
    assert _sites.open_model(shelf.model, "cpu") is not _sites.open_model(shelf.model, "cpu")


@pytest.mark.parametrize(
    "words",
    [
        ("curve", "--n", "1", "--draws", "1", "--layer", "2"),
        ("map", "--layer", "2", "--position", "3"),
        ("patch", "--auto", "different", "--step", "1", "--underpowered", "--controls", "1", "--layer", "2"),
    ],
    ids=lambda words: words[0],
)
def test_a_small_memory_costs_time_and_no_result(run: Callable[..., Ran], shelf: Shelf, words: tuple[str, ...]) -> None:
    common = (*words, "--model", shelf.model, "--data", shelf.data, "--json")
    more = ("--sae", shelf.sae) if words[0] == "curve" else ()
    plenty, none = (run(*common, *more, "--memory", memory) for memory in ("2", "0"))
    assert (plenty.code, none.code) == (0, 0), plenty.err + none.err
    kept = [documents(plenty), documents(none)]
    for document in kept:
        forget(document, "notes")  # one of which says that keys and values were computed again
    assert kept[0] == kept[1]
    ran = run(*common, *more, "--memory", "0.00001")
    assert ran.code == 2
    assert "--memory" in ran.err
