"""ablate, amplify, swap: what they print and keep, and every bad input's two lines."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from statsmodels.stats.multitest import multipletests

import codi_int as ci


@pytest.fixture
def base(shelf) -> tuple[str, ...]:
    """The options that all commands here share."""
    return ("--layer", "2", "--model", shelf.model, "--data", shelf.data, "--controls", "3")


def test_json_is_one_document_and_equals_the_library(run: Callable, shelf, base: tuple[str, ...]) -> None:
    ran = run("ablate", "--feature", str(shelf.living), *base, "--json")
    assert ran.code == 0, ran.err
    printed = json.loads(ran.out)
    engine = ci.FeatureInterventionEngine(ci.load_model(shelf.model), {ci.Site(2, 3): ci.load_sae(shelf.sae)})
    expected = engine.run(ci.Ablate(shelf.living), ci.load_problems(shelf.data), controls=3).to_dict()
    for part in ("arms", "effect", "controls", "by_operation", "counts"):
        assert printed[part] == expected[part]
    assert printed["experiment"]["data"] == shelf.data
    assert printed["experiment"]["sae"] == shelf.sae
    assert printed["experiment"]["features"] == [shelf.living]
    assert "clean pass: 12 of 12" in ran.err


@pytest.mark.parametrize(
    ("words", "label"),
    [
        (("ablate", "--mode", "mean"), "(mean)"),
        (("amplify", "--factor", "5"), "x 5"),
        (("swap", "--with", "3"), "with 3"),
        (("ablate", "--feature", "7,8", "--splice", "replace"), ", 7, 8"),
        (("ablate", "--propagate", "cache"), "propagate cache"),
        (("ablate", "--mode", "resample"), "(resample)"),
        (("ablate", "--mode", "set", "--value", "-2.5"), "to -2.5"),
    ],
)
def test_the_table_says_what_was_done(
    run: Callable, shelf, base: tuple[str, ...], words: tuple[str, ...], label: str
) -> None:
    ran = run(words[0], "--feature", str(shelf.living), *words[1:], *base)
    assert ran.code == 0, ran.err
    for expected in (label, "clean", "reconstructed", "intervened", "interval", "controls", "broken", "p (Holm)"):
        assert expected in ran.page
    assert max(map(len, ran.out.splitlines())) <= 100


def test_several_factors_are_one_family(run: Callable, shelf, base: tuple[str, ...], tmp_path: Path) -> None:
    words = ("amplify", "--feature", str(shelf.living), *base)
    ran = run(*words, "--factor", "3", "--factor", "6,-9", "--json", "--out", str(tmp_path / "run"))
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["schema"] == "codi-int/results@1"
    alone = json.loads(run(*words, "--factor", "6", "--json").out)
    assert alone["schema"] == "codi-int/result@2"
    for part in ("experiment", "arms", "controls", "by_operation", "by_steps", "counts", "notes"):
        assert document["results"][1][part] == alone[part]
    # what a test may conclude, and what it can find, is the family's
    concluded = {"conclusion", "verdict", "minimum_detectable"}
    same = [{k: v for k, v in r["effect"].items() if k not in concluded} for r in (document["results"][1], alone)]
    assert same[0] == same[1]
    assert "after Holm over 3 edits" in document["results"][1]["effect"]["verdict"]
    p_values = [result["effect"]["p_value"] for result in document["results"]]
    assert document["p_adjusted"] == multipletests(p_values, method="holm")[1].tolist()
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == document
    for name, result in zip(("x3", "x6", "x-9"), document["results"], strict=True):
        kept = tmp_path / "run" / name
        assert json.loads((kept / "result.json").read_text()) == result
        assert pq.read_table(kept / "outcomes.parquet").num_rows == 3 * 12
    assert "clean pass: 12 of 12" in ran.err
    assert ran.err.count("clean pass: 12 of 12") == 1


def test_the_page_of_several_factors_has_a_row_for_each(run: Callable, shelf, base: tuple[str, ...]) -> None:
    ran = run("amplify", "--feature", str(shelf.living), *base, "--factor", "3", "--factor", "-9")
    for expected in (
        "2 edits at L2.P3",
        "clean",
        "reconstructed",
        "x 3",
        "x -9",
        "p (Holm)",
        "does more than",
        "of 2 edits",
    ):
        assert expected in ran.page
    assert max(map(len, ran.out.splitlines())) <= 100
    dead = run("amplify", "--feature", str(shelf.dead), *base, "--factor", "3", "--factor", "-9")
    assert "dead here: nothing to amplify" in dead.page


def test_ctrl_c_is_a_clean_stop(
    run: Callable, shelf, base: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codi_int.interventions.engine.suffix import SuffixRunner

    seen = []
    run_plans = SuffixRunner.run

    def second_time_stopped(self, plans, progress=None):
        seen.append(plans)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return run_plans(self, plans, progress)

    monkeypatch.setattr(SuffixRunner, "run", second_time_stopped)
    words = ("amplify", "--feature", str(shelf.living), *base, "--factor", "3", "--factor", "6", "--json")
    ran = run(*words, "--out", str(tmp_path / "run"))
    assert (ran.code, ran.out) == (130, "")
    assert "Stopped. Nothing was half-written" in ran.err
    assert not list(tmp_path.iterdir())  # the folder was the run's own


def test_a_dead_feature_is_an_answer(run: Callable, shelf, base: tuple[str, ...]) -> None:
    ran = run("ablate", "--feature", str(shelf.dead), *base)
    assert ran.code == 0
    assert "dead here: nothing to ablate" in ran.page
    document = json.loads(run("ablate", "--feature", str(shelf.dead), *base, "--json").out)
    assert document["effect"]["p_value"] is None


def test_out_keeps_result_outcomes_and_manifest(run: Callable, shelf, base: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    ran = run("ablate", "--feature", str(shelf.living), *base, "--json", "--out", str(folder))
    document = json.loads(ran.out)
    assert json.loads((folder / "result.json").read_text()) == document
    rows = pq.read_table(folder / "outcomes.parquet").to_pylist()
    assert len(rows) == 3 * 12
    clean = [row for row in rows if row["arm"] == "clean"]
    assert sum(row["correct"] for row in clean) == document["arms"]["clean"]["n_correct"]
    assert sum(row["touched"] for row in rows if row["arm"] == "intervened") == document["effect"]["n_touched"]
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert manifest["command"][:2] == ["codi-int", "ablate"]


def words_with(shelf, **changed: str) -> list[str]:
    options = {"feature": str(shelf.living), "layer": "2", "model": shelf.model, "data": shelf.data} | changed
    return ["ablate", *(word for name, value in options.items() for word in (f"--{name}", value))]


def refused(run: Callable, words: list[str]) -> str:
    """The error of a command that must be refused: exit code 2, at most two lines, nothing on stdout."""
    ran = run(*words)
    assert (ran.code, ran.out) == (2, ""), ran.err
    lines = [line for line in ran.err.splitlines() if not line.startswith(("clean pass: ", "warning: "))]
    assert lines[0].startswith("codi-int: ")
    assert len(lines) <= 2, ran.err
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"layer": "4"}, "Layer 4 does not exist: random has layers 0 to 3"),
        ({"layer": "-1"}, "count from 0"),
        ({"position": "7"}, "Position 7 does not exist: random has positions 0 (<bot>) to 6"),
        ({"feature": "32"}, "Feature 32 does not exist: this SAE has features 0 to 31"),
        ({"feature": "-1"}, "whole number from 0 upwards, got -1"),
        ({"feature": "abc"}, "whole numbers from 0 upwards, got 'abc'"),
        (
            {"mode": "median"},
            "--mode 'median' does not exist.\nDid you mean mean? It is one of zero, mean, resample, set.",
        ),
        ({"splice": "overwrite"}, "It is one of add, replace."),
        ({"propagate": "none"}, "both, cache, recurrence"),
        ({"controls": "-3"}, "--controls is -3; it takes whole numbers from 0"),
        ({"limit": "0"}, "--limit is 0; it takes whole numbers from 1"),
        ({"device": "cuda:99"}, "cannot be used here"),
        ({"data": "nonsense"}, "no data set 'nonsense'"),
        ({"sae": "nowhere"}, "--sae nowhere is neither a folder nor a shipped SAE"),
        ({"position": "4"}, "has no SAE for L2.P4"),
        ({"model": "no-such-model"}, "no-such-model"),
    ],
)
def test_values_that_cannot_work_teach(run: Callable, shelf, changed: dict[str, str], says: str) -> None:
    assert says in refused(run, words_with(shelf, **changed))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused(run: Callable, shelf) -> None:
    assert "'cuda' cannot be used here" in refused(run, words_with(shelf, device="cuda"))


def test_an_sae_of_another_site_is_refused(run: Callable, shelf) -> None:
    message = refused(run, words_with(shelf, sae=shelf.sae, position="4"))
    assert "trained at L2.P3, not at L2.P4" in message


def broken_copy(shelf, folder: Path, change: Callable[[dict[str, torch.Tensor], dict], None]) -> str:
    """A copy of the SAE with its weights or settings changed."""
    weights = load_file(f"{shelf.sae}/sae_weights.safetensors")
    settings = json.loads(Path(shelf.sae, "cfg.json").read_text())
    change(weights, settings)
    save_file(weights, folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps(settings))
    return str(folder)


def test_nan_in_an_sae_is_refused(run: Callable, shelf, tmp_path: Path) -> None:
    sae = broken_copy(shelf, tmp_path, lambda weights, _: weights["W_dec"][3].fill_(torch.nan))
    assert "W_dec contains NaN" in refused(run, words_with(shelf, sae=sae))


def test_an_sae_of_another_width_is_refused(run: Callable, shelf, tmp_path: Path) -> None:
    def widen(weights: dict[str, torch.Tensor], settings: dict) -> None:
        settings["d_in"] = 30
        for name, dim in (("W_enc", 0), ("W_dec", 1), ("b_dec", 0)):
            shape = list(weights[name].shape)
            shape[dim] = 30
            weights[name] = torch.zeros(shape)

    sae = broken_copy(shelf, tmp_path, widen)
    assert "width 30; the model's d_model is 24" in refused(run, words_with(shelf, sae=sae))


def test_an_sae_of_another_model_is_refused(run: Callable, shelf, tmp_path: Path) -> None:
    sae = broken_copy(shelf, tmp_path, lambda _, s: s["metadata"].update(model_sha256="0" * 64))
    assert "belongs to model" in refused(run, words_with(shelf, sae=sae))


def test_sae_files_that_are_missing_or_cut_are_refused(run: Callable, shelf, tmp_path: Path) -> None:
    sae = Path(broken_copy(shelf, tmp_path, lambda *_: None))
    content = (sae / "sae_weights.safetensors").read_bytes()
    (sae / "sae_weights.safetensors").write_bytes(content[: len(content) // 2])
    assert "truncated" in refused(run, words_with(shelf, sae=str(sae)))
    (sae / "sae_weights.safetensors").unlink()
    assert "sae_weights.safetensors is missing" in refused(run, words_with(shelf, sae=str(sae)))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no problems"),
        ("no json at all\n", "line 1: no JSON"),
        (
            '{"question": "Why?", "answer": 3}\n{"question": "Why?"}\n',
            "line 2: the field 'answer' is missing",
        ),
    ],
)
def test_data_files_that_are_none_name_the_line(run: Callable, shelf, tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(content)
    assert says in refused(run, words_with(shelf, data=str(path)))


def test_an_unwritable_folder_is_refused_before_the_run(run: Callable, shelf, tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.write_text("in the way")
    message = refused(run, words_with(shelf, out=str(taken / "run")))
    assert "cannot be written to" in message
    assert taken.read_text() == "in the way"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(run: Callable, shelf, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "permission denied" in refused(run, words_with(shelf, out=str(tmp_path / "run")))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("amplify", "--factor", "nan"), "--factor takes a number, got 'nan'"),
        (("amplify", "--factor", "1e39"), "overflows"),
        (("amplify", "--factor", "1"), "leaves a feature as it is"),
        (("amplify", "--factor", "2", "--factor", "nan"), "--factor takes a number, got 'nan'"),
        (("amplify", "--factor", "2", "--factor", "2.0"), "each number once, got 2, 2"),
        (("amplify", "--factor", "2,much"), "--factor takes a number, got 'much'"),
        (("amplify", "--factor", "1e25"), "overflows"),
        (("ablate", "--mode", "set"), "--value belongs to --mode set"),
        (("ablate", "--value", "2"), "--value belongs to --mode set"),
        (("ablate", "--mode", "set", "--value", "inf"), "--value takes a number, got 'inf'"),
        (("swap", "--with", "{living}"), "swapped with itself"),
        (("swap", "--with", "1,2"), "sets of one size"),
        (("amplify", "--factor", "1e300"), "codi-int: Edit 'amplify "),  # and not `--feature 3: Edit ...`
    ],
)
def test_edits_that_cannot_work_teach(
    run: Callable, shelf, base: tuple[str, ...], words: tuple[str, ...], says: str
) -> None:
    filled = [word.format(living=shelf.living) for word in words]
    assert says in refused(run, [filled[0], "--feature", str(shelf.living), *filled[1:], *base])


@pytest.mark.parametrize("value", ["0", "0.6", "-0.1", "nan"])
def test_a_bound_that_bounds_nothing_is_refused(run: Callable, base: tuple[str, ...], value: str) -> None:
    ran = run("ablate", "--feature", "3", *base, "--bound", value)
    assert ran.code == 2
    assert ran.err.startswith("codi-int: --bound")
    assert len(ran.err.strip().splitlines()) == 2
    assert not ran.out


def test_the_bound_decides_what_is_equivalent(run: Callable, shelf, base: tuple[str, ...]) -> None:
    words = ("ablate", "--feature", str(shelf.living), *base, "--controls", "0", "--json")
    narrow, wide = (json.loads(run(*words, *more).out)["effect"] for more in ((), ("--bound", "0.5")))
    assert (narrow["bound"], wide["bound"]) == (0.005, 0.5)
    assert narrow["p_equivalence"] > wide["p_equivalence"]
    assert narrow["estimate"] == wide["estimate"]


def test_side_effects_are_in_every_result_and_later_thoughts_where_asked(
    run: Callable, shelf, base: tuple[str, ...], tmp_path: Path
) -> None:
    words = ("ablate", "--feature", str(shelf.living), *base)
    plain = json.loads(run(*words, "--json").out)["side_effects"]
    assert plain["n_touched"] > 0
    assert plain["later"] is None
    ran = run(*words, "--side-effects", "--out", str(tmp_path / "run"))
    assert ran.code == 0, ran.err
    assert "thought 4 beside the undisturbed one" in ran.page
    # the shelf's model has an SAE at the edited position alone
    assert "No SAE of a later position is at hand" in ran.page
    kept = json.loads((tmp_path / "run" / "result.json").read_text())["side_effects"]
    assert {**kept, "later": None} == plain
    assert {row["thought"] for row in kept["later"]["results"]} == {4, 5, 6}


def test_several_factors_have_a_table_of_side_effects_and_later_thoughts_each(
    run: Callable, shelf, base: tuple[str, ...]
) -> None:
    ran = run("amplify", "--feature", str(shelf.living), *base, "--factor", "2,9", "--side-effects")
    assert ran.code == 0, ran.err
    assert "side effects" in ran.page
    for factor in ("2", "9"):
        assert f"amplify {shelf.living} x {factor}: later thoughts on" in ran.page


def test_side_effects_of_three_paths_at_once_are_refused(run: Callable, shelf, base: tuple[str, ...]) -> None:
    ran = run("ablate", "--feature", str(shelf.living), *base, "--propagate", "split", "--side-effects")
    assert ran.code == 2
    assert len(ran.err.strip().splitlines()) == 2
    assert "--propagate split makes three" in ran.err
