"""screen: what it prints, keeps and refuses."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from codi_int.model.loading import load_model
from codi_int.sae import load_sae, save_sae
from codi_int.types import Site


@pytest.fixture
def words(shelf) -> tuple[str, ...]:
    return ("screen", "--layer", "2", "--model", shelf.model, "--data", shelf.data)


def test_every_feature_has_a_row_whatever_the_order(run: Callable, words: tuple[str, ...]) -> None:
    by_index = json.loads(run(*words, "--json").out)
    by_attribution = json.loads(run(*words, "--order", "attribution", "--json").out)
    assert [row["feature"] for row in by_index["rows"]] == list(range(32))
    for row, other in zip(by_attribution["rows"], by_index["rows"], strict=True):
        assert row.pop("flips") == other.pop("flips")
        assert [len(one.pop("folds")) for one in (row, other)] == [2, 2]
        # rows of a batch are summed in another order
        assert row == pytest.approx(other, abs=5e-5)


def test_the_table_shows_as_many_as_asked(run: Callable, words: tuple[str, ...]) -> None:
    ran = run(*words, "--top", "3", "--feature", "1,2,3,4,5")
    assert ran.code == 0, ran.err
    assert "ablate each of 5 features" in ran.page
    assert len(re.findall(r"^\d+ +\d+\.\d %", ran.out, re.MULTILINE)) == 3


def test_out_is_kept_and_taken_up_again(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    first = run(*words, "--out", str(tmp_path), "--json", "--feature", "1,2,3")
    assert first.code == 0, first.err
    assert [row["feature"] for row in pq.read_table(tmp_path / "screen.parquet").to_pylist()] == [1, 2, 3]
    again = run(*words, "--out", str(tmp_path), "--json", "--feature", "1,2,3")
    assert "3 features are finished" in again.err
    document = json.loads(again.out)
    assert document["counts"] == json.loads(first.out)["counts"]  # of the whole screen, whoever ran it
    assert document["rows"] == json.loads(first.out)["rows"]
    assert json.loads((tmp_path / "screen.json").read_text()) == document


def test_other_data_are_confirmed_in_two_folds_and_stories_where_said(
    run: Callable, words: tuple[str, ...], tmp_path: Path
) -> None:
    picked = (*words, "--feature", "1,2,3")
    folds = json.loads(run(*picked, "--json").out)
    assert (folds["selection"]["confirmed_on"], folds["selection"]["n_confirming"]) == ("folds", None)
    assert all(len(row["folds"]) == 2 for row in folds["rows"])
    named = json.loads(run(*picked, "--confirm", "stories:confirmation", "--json").out)
    assert (named["selection"]["confirmed_on"], named["selection"]["n_confirming"]) == ("stories:confirmation", 12)
    kept = run(*picked, "--confirm", "stories:confirmation", "--out", str(tmp_path))
    assert kept.code == 0, kept.err
    inputs = json.loads((tmp_path / "manifest.json").read_text())["run"]["inputs"]
    assert inputs["confirmation"] == named["selection"]["confirmed_sha256"]
    none = run(*picked, "--confirm", "none", "--correction", "holm", "--bound", "0.1")
    assert none.code == 0, none.err
    assert "tested at 5 % (Holm). Selected, and confirmed nowhere" in none.page
    assert "equivalent within 10.00 points" in none.page


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--confirm", "no-such-set"), "There is no data set 'no-such-set'"),
        (("--correction", "best"), "discrete, heyse, max-t, holm, bh"),
        (("--bound", "0"), "--bound"),
        (("--bound", "0.6"), "0.5"),
        (("--family", "nowhere"), "--family nowhere does not exist"),
    ],
)
def test_evidence_that_cannot_be_had_teaches(
    run: Callable, words: tuple[str, ...], more: tuple[str, ...], says: str
) -> None:
    ran = run(*words, "--feature", "1", *more)
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.strip().splitlines()) == 2


def test_problems_that_selected_cannot_confirm(run: Callable, words: tuple[str, ...], shelf) -> None:
    ran = run(*words, "--feature", "1", "--confirm", shelf.data)
    assert ran.code == 2
    assert f"12 of the 12 problems of {shelf.data} that should confirm have selected" in ran.err


def test_features_picked_from_a_kept_screen_bring_its_family(
    run: Callable, words: tuple[str, ...], tmp_path: Path
) -> None:
    whole = json.loads(run(*words, "--out", str(tmp_path / "all"), "--json").out)
    alone = json.loads(run(*words, "--feature", "4", "--json").out)
    picked = json.loads(run(*words, "--feature", "4", "--family", str(tmp_path / "all"), "--json").out)
    assert picked["selection"]["n_tested"] == whole["selection"]["n_tested"] > alone["selection"]["n_tested"]
    assert picked["rows"][0]["p_adjusted"] == whole["rows"][4]["p_adjusted"]
    other = run(*words, "--feature", "4", "--limit", "8", "--family", str(tmp_path / "all"))
    assert other.code == 2
    assert "is a screen with another data than this one" in other.err
    bound = run(*words, "--feature", "4", "--bound", "0.02", "--family", str(tmp_path / "all"))
    assert bound.code == 2
    assert bound.err.strip().splitlines()[-2:] == [
        f"codi-int: --family {tmp_path / 'all'} is a screen with another bound than this one: 0.005, not 0.02.",
        "Give --bound 0.005, as that screen had it, or run that screen again.",
    ]


def test_rows_of_another_screen_are_not_mixed_in(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    run(*words, "--out", str(tmp_path), "--feature", "1")
    ran = run(*words, "--out", str(tmp_path), "--feature", "1", "--seed", "5")
    assert ran.code == 2
    assert "--seed is 0 there, 5 here" in ran.err


def test_interrupted_rows_stay(
    run: Callable, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codi_int.interventions.screens import groups, screen_store

    keep = screen_store.ScreenFolder.keep

    def keep_and_stop(self: screen_store.ScreenFolder, rows: list, pairs: tuple = ()) -> None:
        keep(self, rows, pairs)
        raise KeyboardInterrupt

    monkeypatch.setattr(groups, "ROWS_PER_GROUP", 1)
    monkeypatch.setattr(screen_store.ScreenFolder, "keep", keep_and_stop)
    ran = run(*words, "--out", str(tmp_path))
    assert ran.code == 130
    assert f"1 features are kept in {tmp_path}" in ran.err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--order", "beauty"), "index, attribution"),
        (("--layer", "two"), "--layer takes whole numbers"),
        (("--feature", "32"), "0 to 31"),
        (("--top", "many"), "--top takes a whole number"),
        (("--steps", "4"), "Add --order attribution"),
        (("--order", "attribution", "--steps", "0"), "--steps is 0; it takes whole numbers from 1"),
        (("--position", "8"), "Position 8 does not exist"),
    ],
)
def test_values_that_cannot_work_teach(run: Callable, words: tuple[str, ...], more: tuple[str, ...], says: str) -> None:
    ran = run(*words, *more)
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.strip().splitlines()) <= 2


@pytest.fixture
def folder(shelf, tmp_path: Path) -> Path:
    """A folder of SAEs as a sweep leaves it: two sites of three, one of them with its SAE one level down."""
    sae, model = load_sae(shelf.sae), load_model(shelf.model)
    for site, inside in ((Site(2, 3), "."), (Site(1, 4), "d32_k10_s0")):
        sae.annotate(site=site, model=model.name, model_sha256=model.sha256)
        save_sae(sae, tmp_path / "saes" / str(site) / inside)
    return tmp_path / "saes"


def test_every_combination_that_has_an_sae_is_screened(
    run: Callable, words: tuple[str, ...], folder: Path, tmp_path: Path
) -> None:
    sites = ("--layer", "1", "--position", "3,4", "--sae", str(folder), "--feature", "1,2,3")
    ran = run(*words, *sites, "--json", "--out", str(tmp_path / "kept"))
    assert ran.code == 0, ran.err
    assert "No SAE at L2.P4, L1.P3: left out." in ran.err
    document = json.loads(ran.out)
    assert [(row["site"], row["feature"]) for row in document["rows"]] == [
        (site, f) for site in ("L2.P3", "L1.P4") for f in (1, 2, 3)
    ]
    assert [s["n_features"] for s in document["sites"]] == [3, 3]
    table = pq.read_table(tmp_path / "kept" / "screen.parquet").to_pylist()
    assert [row["site"] for row in table] == [row["site"] for row in document["rows"]]
    page = run(*words, *sites, "--out", str(tmp_path / "kept")).page
    assert "ablate each of 6 features at 2 sites" in page
    assert "sites L2.P3, L1.P4" in page


def test_a_killed_screen_of_two_sites_ends_as_an_uninterrupted_one(
    run: Callable, words: tuple[str, ...], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codi_int.interventions.screens import groups, screen_store

    monkeypatch.setattr(groups, "ROWS_PER_GROUP", 40)
    sites = (*words, "--layer", "1", "--position", "3,4", "--sae", str(folder), "--json")
    whole = json.loads(run(*sites, "--out", str(tmp_path / "whole")).out)
    keep, calls = screen_store.ScreenFolder.keep, []

    def stop_at_the_fourth(self: screen_store.ScreenFolder, rows: list, pairs: tuple = ()) -> None:
        calls.append(len(rows))
        if len(calls) == 4:
            raise KeyboardInterrupt
        keep(self, rows, pairs)

    with monkeypatch.context() as patch:
        patch.setattr(screen_store.ScreenFolder, "keep", stop_at_the_fourth)
        stopped = run(*sites, "--out", str(tmp_path / "killed"))
    assert stopped.code == 130
    assert f"{calls[2]} features are kept" in stopped.err
    again = json.loads(run(*sites, "--out", str(tmp_path / "killed")).out)
    assert again["rows"] == whole["rows"]


def test_a_folder_of_other_sites_goes_on_with_the_common_ones_and_says_so(
    run: Callable, words: tuple[str, ...], folder: Path, tmp_path: Path
) -> None:
    """Words have --layer 2; every site has a file, so only what is missing is run."""
    given = (*words, "--sae", str(folder), "--feature", "1-3", "--json")
    alone = json.loads(run(*given, "--layer", "1", "--position", "4").out)
    begun = run(*given, "--layer", "1", "--position", "3,4", "--out", str(tmp_path / "kept"))
    assert begun.code == 0, begun.err
    assert sorted(path.name for path in (tmp_path / "kept" / "finished").iterdir()) == ["L1.P4.json", "L2.P3.json"]
    written = (tmp_path / "kept" / "finished" / "L1.P4.json").stat().st_mtime_ns
    ran = run("screen", "--layer", "1", *given[3:], "--position", "4", "--out", str(tmp_path / "kept"))
    assert ran.code == 0, ran.err
    assert "Going on: 3 features are finished" in ran.err
    notes = ran.err.splitlines()
    first = next(i for i, line in enumerate(notes) if "was begun with other sites" in line)
    assert notes[first].endswith("1 of the 1 asked for have rows there, as have 1 others (L2.P3).")
    assert notes[first + 1].startswith("Rows of common sites are taken; the others stay in the folder")
    document = json.loads(ran.out)
    assert document["rows"] == alone["rows"]
    # counts are of the whole run, and its one file was not written again: nothing was run
    assert document["counts"] == alone["counts"]
    assert (tmp_path / "kept" / "finished" / "L1.P4.json").stat().st_mtime_ns == written
    manifest = json.loads((tmp_path / "kept" / "manifest.json").read_text())
    assert "finished/L2.P3.json" in manifest["files"]
    # and an SAE that was trained anew since is another screen's
    sae = load_sae(folder / "L1.P4" / "d32_k10_s0")
    with torch.no_grad():
        sae.W_dec.mul_(2)
    save_sae(sae, folder / "L1.P4" / "d32_k10_s0")
    changed = run("screen", "--layer", "1", *given[3:], "--position", "4", "--out", str(tmp_path / "kept"))
    assert changed.code == 2
    assert "holds a screen with sae" in changed.err


def test_attribution_says_how_good_it_was(run: Callable, words: tuple[str, ...]) -> None:
    ran = run(*words, "--order", "attribution", "--json")
    document = json.loads(ran.out)
    (found,) = document["agreement"]
    living = [row for row in document["rows"] if row["n_touched"]]
    assert (found["n"], found["site"]["layer"]) == (len(living), 2)
    assert [r["k"] for r in found["recall"]] == [5, 10, 20]
    page = run(*words, "--order", "attribution", "--top", "2").page
    assert f"Spearman {found['spearman']:.2f}, Kendall {found['kendall']:.2f}" in page
    assert "furthest off" in page
    worst = {row["feature"]: row["measured"] for row in found["worst"]}
    assert worst == {row["feature"]: row["logprob"] for row in living if row["feature"] in worst}
    assert json.loads(run(*words, "--feature", "1", "--json").out)["agreement"] == []


def test_attribution_at_many_sites_has_a_row_for_each(run: Callable, words: tuple[str, ...], folder: Path) -> None:
    sae, model = load_sae(folder / "L2.P3"), load_model(words[words.index("--model") + 1])
    sae.annotate(site=Site(0, 2), model=model.name, model_sha256=model.sha256)
    save_sae(sae, folder / "L0.P2")
    given = (*words, "--layer", "0-1", "--position", "2-4", "--sae", str(folder), "--order", "attribution")
    document = json.loads(run(*given, "--json").out)
    assert [found["site"]["layer"] for found in document["agreement"]] == [2, 0, 1]
    page = run(*given, "--top", "1").page
    assert "attribution by site" in page
    for found in document["agreement"]:
        assert f"L{found['site']['layer']}.P{found['site']['position']} {found['n']} {found['spearman']:.2f}" in page


def test_gradients_can_be_integrated(run: Callable, words: tuple[str, ...]) -> None:
    given = (*words, "--order", "attribution", "--limit", "6", "--steps", "4")
    assert json.loads(run(*given, "--json").out)["agreement"][0]["steps"] == 4
    assert "integrated gradients (4 steps) against the exact effects at L2.P3" in run(*given).page


@pytest.mark.parametrize("text", ["a,b\n1,2\n\n2, 5\n", '{"a": 1, "b": 2}\n[5, 2]\n'])
def test_pairs_are_read_run_kept_and_shown(run: Callable, words: tuple[str, ...], text: str, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    given = (*words, "--pairs", str(tmp_path / "pairs.csv"), "--out", str(tmp_path / "kept"))
    document = json.loads(run(*given, "--json").out)
    assert [(row["a"], row["b"]) for row in document["pairs"]] == [(1, 2), (2, 5)]
    assert [row["feature"] for row in document["rows"]] == [1, 2, 5]
    kept = pq.read_table(tmp_path / "kept" / "pairs.parquet").to_pylist()
    nested = ("flips", "folds")  # of the document alone
    assert kept == [{name: value for name, value in row.items() if name not in nested} for row in document["pairs"]]
    again = run(*given)
    assert "3 features and 2 pairs are finished" in again.err
    assert "Departures from the sum of the parts: " in again.page
    assert "both fire" in again.page


@pytest.mark.parametrize(
    ("text", "more", "says"),
    [
        ("1;2", (), "Line 1 of"),
        ("1,2\n3", (), "Line 2 of"),
        ("1,-2", (), "whole numbers from 0 upwards"),
        ('{"a": 1}', (), "Line 1 of"),
        ("", (), "holds no pair"),
        ("3,3", (), "cannot be paired with itself"),
        ("3,32", (), "0 to 31"),
        ("1,2", ("--feature", "1"), "brings its own features"),
        ("1,2", ("--order", "attribution"), "brings its own features"),
        ("1,2", ("--position", "3,4"), "features of one site"),
    ],
)
def test_pairs_that_cannot_work_teach(
    run: Callable, words: tuple[str, ...], text: str, more: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    ran = run(*words, "--pairs", str(tmp_path / "pairs.csv"), *more)
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.strip().splitlines()) <= 2


def test_a_missing_pairs_file_and_saes_that_do_not_fit_the_sites_teach(
    run: Callable, words: tuple[str, ...], shelf, folder: Path
) -> None:
    assert "cannot be read: no such file" in run(*words, "--pairs", "nowhere.csv").err
    assert "is one SAE, and there are 2 sites" in run(*words, "--position", "3,4", "--sae", shelf.sae).err
    assert "holds no SAE for L2.P5" in run(*words, "--position", "5", "--sae", str(folder)).err
    save_sae(load_sae(shelf.sae), folder / "L1.P4" / "d32_k10_s1")
    ran = run("screen", "--layer", "1", "--position", "4", "--sae", str(folder), *words[3:])
    assert (ran.code, "holds 2 SAEs for L1.P4" in ran.err) == (2, True)


def test_the_last_site_is_left_out_of_several(run: Callable, shelf, tmp_path: Path) -> None:
    sae = load_sae(shelf.sae)
    for site in (Site(3, 4), Site(3, 5), Site(3, 6)):
        sae.annotate(site=site)
        save_sae(sae, tmp_path / str(site))
    words = ("screen", "--layer", "3", "--model", shelf.model, "--data", shelf.data, "--sae", str(tmp_path))
    ran = run(*words, "--position", "4-6", "--feature", "1", "--json")
    assert ran.code == 0, ran.err
    assert "Nothing later reads L3.P6: left out." in ran.err
    assert [row["site"] for row in json.loads(ran.out)["rows"]] == ["L3.P4", "L3.P5"]
    alone = run(*words, "--position", "6", "--feature", "1")
    assert alone.code == 2
    assert "A change at L3.P6 cannot reach the answer" in alone.err
