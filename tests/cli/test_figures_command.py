"""figures: kept runs are drawn by the commands themselves, and again on demand."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def words(shelf) -> tuple[str, ...]:
    return ("--model", shelf.model, "--data", shelf.data, "--layer", "2", "--position", "3")


def pictures(folder: Path) -> set[str]:
    """Names that stand there as PNG and as SVG."""
    svgs = {path.stem for path in folder.glob("*.svg")}
    assert svgs == {path.stem for path in folder.glob("*.png")}
    return svgs


def test_a_kept_screen_is_drawn_and_can_be_drawn_again(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    kept, again = tmp_path / "kept", tmp_path / "again"
    ran = run("screen", *words, "--feature", "1,2,3", "--out", str(kept))
    assert ran.code == 0, ran.err
    assert pictures(kept) == {"volcano", "effects", "firing", "ranks"}
    assert "volcano" in ran.err
    drawn = run("figures", str(kept), "--out", str(again), "--json")
    assert drawn.code == 0, drawn.err
    files = json.loads(drawn.out)["files"]
    assert {Path(file).name for file in files} == {path.name for path in again.iterdir()}
    assert (again / "volcano.svg").read_bytes() == (kept / "volcano.svg").read_bytes()


def test_kept_maps_and_curves_are_drawn(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    assert run("map", *words, "--out", str(tmp_path / "map")).code == 0
    assert pictures(tmp_path / "map") == {"map-accuracy", "map-logprob"}
    assert run("map", *words, "--later", "free", "--out", str(tmp_path / "free")).code == 0
    assert pictures(tmp_path / "free") == {"map"}
    assert run("curve", *words, "--n", "1", "--draws", "1", "--out", str(tmp_path / "curve")).code == 0
    assert pictures(tmp_path / "curve") == {"curve"}


def test_a_family_of_factors_is_drawn(run: Callable, words: tuple[str, ...], shelf, tmp_path: Path) -> None:
    ran = run(
        "amplify",
        *words,
        "--feature",
        str(shelf.living),
        "--factor",
        "2",
        "--factor",
        "5",
        "--controls",
        "1",
        "--out",
        str(tmp_path),
    )
    assert ran.code == 0, ran.err
    assert pictures(tmp_path) == {"dose"}


def test_the_page_names_the_files(run: Callable, words: tuple[str, ...], shelf, tmp_path: Path) -> None:
    run("ablate", *words, "--feature", str(shelf.living), "--controls", "2", "--out", str(tmp_path))
    ran = run("figures", str(tmp_path / "result.json"))
    assert ran.out.split() == [str(tmp_path / "effect.png"), str(tmp_path / "effect.svg")]


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [("", "", "holds no run"), ("none.json", None, "does not exist"), ("a.json", "{}", "have no figures")],
)
def test_what_cannot_be_drawn_is_two_lines(
    run: Callable, tmp_path: Path, file: str, content: str | None, says: str
) -> None:
    if file and content is not None:
        (tmp_path / file).write_text(content)
    ran = run("figures", str(tmp_path / file))
    assert ran.code == 2
    assert says in ran.err
    assert len([line for line in ran.err.splitlines() if not line.startswith("documents drawn")]) <= 2


def test_several_runs_are_told_apart_and_what_is_left_is_said(
    run: Callable, words: tuple[str, ...], shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        kept = run("ablate", *words, "--feature", str(shelf.living), "--controls", "0", "--out", str(tmp_path / name))
        assert kept.code == 0, kept.err
    monkeypatch.setattr("codi_int.cli._progress.SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr("codi_int.cli._progress.SILENCE", 0.0)
    drawn = run("figures", str(tmp_path))
    assert drawn.err.splitlines()[0] == f"drawing the figures of {tmp_path} ..."
    stages = [line.split(" · ")[:2] for line in drawn.err.splitlines() if line.startswith("documents drawn")]
    assert stages == [
        ["documents drawn: 0 of 2", f"now {tmp_path / 'a' / 'result.json'}"],
        ["documents drawn: 1 of 2", f"now {tmp_path / 'b' / 'result.json'}"],
    ]
    words_of_one = "effects by operation and by number of steps: on the page and in result.json"
    missing = [line for line in drawn.err.splitlines() if line.startswith("left out: ")]
    assert missing == [f"left out: {tmp_path / name}: {words_of_one}" for name in ("a", "b")]
    assert f"left out: {words_of_one}" in run("figures", str(tmp_path / "a")).err
