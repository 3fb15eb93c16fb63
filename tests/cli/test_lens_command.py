"""lens: both forms, and what is kept."""

import json
from collections.abc import Callable
from pathlib import Path

import codi_int as ci
from codi_int.model.lens import lens_frequencies, lens_grid


def test_one_problem_is_a_grid(run: Callable, shelf) -> None:
    document = json.loads(run("lens", "--problem", "1", "--model", shelf.model, "--data", shelf.data, "--json").out)
    expected = lens_grid(ci.load_model(shelf.model), ci.load_problems(shelf.data)[1])
    assert document == json.loads(json.dumps(expected.to_dict()))
    page = run("lens", "Tom has 3 apples .", "--model", shelf.model).out
    assert "thought 6" in page
    assert "true answer" not in page


def test_a_data_set_gives_shares_and_a_picture(run: Callable, shelf, tmp_path: Path) -> None:
    words = ("lens", "--model", shelf.model, "--data", shelf.data, "--top", "9", "--out", str(tmp_path / "new"))
    ran = run(*words)
    assert ran.code == 0, ran.err
    for text in ("the answer among the top 9", "by chance", "best: layer"):
        assert text in ran.page
    expected = lens_frequencies(ci.load_model(shelf.model), ci.load_problems(shelf.data), shelf.data, 9)
    assert json.loads((tmp_path / "new" / "lens.json").read_text()) == json.loads(json.dumps(expected.to_dict()))
    assert (tmp_path / "new" / "lens.png").stat().st_size > 10_000


def test_what_does_not_go_together_or_exist_is_refused(run: Callable, shelf) -> None:
    for words in (("Tom .", "--problem", "1"), ("--problem", "99"), ("--problem", "-1"), ("--top", "0")):
        ran = run("lens", *words, "--model", shelf.model, "--data", shelf.data)
        assert (ran.code, len(ran.err.strip().splitlines())) == (2, 2), ran.err
