"""export: a kept run as other tools read it, and what is refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import codi_int as ci


@pytest.fixture(scope="module")
def kept(shelf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ablation, kept from Python."""
    model, problems = ci.load_model(shelf.model), ci.load_problems(shelf.data)
    engine = ci.FeatureInterventionEngine(model, {ci.Site(2, 3): ci.load_sae(shelf.sae)})
    return engine.run(ci.Ablate(shelf.living), problems, controls=None).save(tmp_path_factory.mktemp("kept") / "run")


def test_tables_are_those_of_the_result(run: Callable, kept: Path, tmp_path: Path) -> None:
    frame = ci.load_result(kept).to_frame()
    for name, read in (("a.parquet", pd.read_parquet), ("a.csv", pd.read_csv)):
        ran = run("export", str(kept), "--out", str(tmp_path / name), "--json")
        assert ran.code == 0, ran.err
        assert json.loads(ran.out)["n_rows"] == len(frame) == 12
        pd.testing.assert_frame_equal(
            read(tmp_path / name), frame, check_dtype=False, check_exact=False, check_column_type=False
        )


def test_a_log_has_a_sample_for_each_problem(run: Callable, shelf, kept: Path, tmp_path: Path) -> None:
    ran = run("export", str(kept), "--out", str(tmp_path / "run.json"))
    assert ran.code == 0, ran.err
    assert ran.page.endswith("run.json: 12 samples")
    log, found = json.loads((tmp_path / "run.json").read_text()), ci.load_result(kept)
    problems = ci.load_problems(shelf.data)
    assert [sample["input"] for sample in log["samples"]] == [problem.question for problem in problems]
    assert [sample["scores"]["intervened"]["value"] == "C" for sample in log["samples"]] == [
        outcome.correct for outcome in found.outcomes["intervened"]
    ]
    manifest = json.loads((kept / "manifest.json").read_text())
    assert (log["eval"]["created"], log["stats"]["completed_at"]) == (manifest["started"], manifest["ended"])


def test_a_folder_of_logs_has_the_names_that_inspect_looks_for(run: Callable, kept: Path, tmp_path: Path) -> None:
    ran = run("export", str(kept), "--format", "inspect", "--out", str(tmp_path / "logs"))
    assert ran.code == 0, ran.err
    (file,) = (tmp_path / "logs").iterdir()
    # its own pattern, of inspect_ai.log._file
    assert re.match(r"^\d{4}-\d{2}-\d{2}T\d{2}[:-]\d{2}[:-]\d{2}.*$", file.name)
    assert "is there already" in run("export", str(kept), "--format", "inspect", "--out", str(tmp_path / "logs")).err


def test_a_run_without_a_manifest_began_when_it_was_written(run: Callable, kept: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(kept, tmp_path / "run", ignore=shutil.ignore_patterns("manifest.json"))
    ran = run("export", str(tmp_path / "run"), "--out", str(tmp_path / "run.json"))
    assert ran.code == 0, ran.err
    created = pd.Timestamp(json.loads((tmp_path / "run.json").read_text())["eval"]["created"])
    assert abs(created.timestamp() - (tmp_path / "run" / "result.json").stat().st_mtime) < 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("RUN", "--out", "x.txt"), "x.txt is of no format that is known"),
        (("RUN", "--out", "x.csv", "--format", "inspect"), "x.csv is no .json file, as --format inspect is"),
        (("RUN", "--out", "there.csv"), "there.csv is there already"),
        (("nowhere", "--out", "x.csv"), "nowhere does not exist"),
        ((".", "--out", "x.csv"), ". holds no result"),
        (("EVALUATION", "--out", "x.json"), "holds no edit but Evaluation: it has no answers of single problems"),
    ],
)
def test_what_is_refused_is_said_in_two_lines(
    run: Callable, shelf, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.csv").write_text("mine")
    if words[0] == "EVALUATION":
        ran = run("eval", "--model", shelf.model, "--data", shelf.data, "--limit", "2", "--out", "evaluated")
        assert ran.code == 0, ran.err
    names = {"RUN": str(kept), "EVALUATION": "evaluated"}
    ran = run("export", *(names.get(word, word) for word in words))
    assert ran.code == 2
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 2
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["there.csv"]
    assert (tmp_path / "there.csv").read_text() == "mine"


def test_force_replaces_the_file(run: Callable, kept: Path, tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("mine")
    assert run("export", str(kept), "--out", str(tmp_path / "there.csv"), "--force").code == 0
    assert len((tmp_path / "there.csv").read_text().splitlines()) == 13
