"""Commands print a warning once on stderr, have it in their JSON, and do not repeat it on the page."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

UNKNOWN = "2 of 3 questions hold words that random does not know (zebras, kayaks)"


@pytest.fixture
def own(tmp_path: Path) -> str:
    texts = ("Tom has 3 zebras and 4 zebras.", "Tom has 3 apples.", "Ann has 2 kayaks and 5 apples.")
    rows = [{"id": f"q{i}", "question": text, "answer": 7} for i, text in enumerate(texts)]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(tmp_path / "own.jsonl")


@pytest.mark.parametrize(
    "command",
    [
        "ablate --layer 2 --feature 1 --controls 0 --directions 0",
        "amplify --layer 2 --feature 1 --factor 2,3 --controls 0 --directions 0",
        "screen --layer 2 --feature 1,2",
        "curve --layer 2 --n 1 --draws 1",
        "map --layer 2 --position 3",
        "eval",
        "think --limit 3",
    ],
)
def test_a_warning_stands_once_on_stderr_and_in_the_document(run: Callable, shelf, own: str, command: str) -> None:
    words = (*command.split(), "--model", shelf.model, "--data", own)
    ran = run(*words)
    assert ran.code == 0, ran.err
    told = [line.removeprefix("warning: ") for line in ran.err.splitlines() if line.startswith("warning: ")]
    assert [line for line in told if line.startswith(UNKNOWN)] == told[:1]
    assert len(told) == len(set(told))
    assert "does not know" not in ran.page
    again = run(*words, "--json")
    document = json.loads(again.out)
    notes = [note for one in document.get("results", [document]) for note in one["notes"]]
    assert set(told) <= set(notes)
    assert again.err.count(UNKNOWN) == 1
