"""features rank and specialize of several sites in one call."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from codi_int.data.problems import load_problems, write_jsonl
from codi_int.sae import load_sae, save_sae
from codi_int.types import Site


@pytest.fixture(scope="module")
def words(shelf, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("sites")
    write_jsonl(load_problems("stories:validation", limit=60), folder / "more.jsonl")
    for site in (Site(1, 3), Site(2, 3)):
        sae = load_sae(shelf.sae)
        sae.annotate(site=site)
        save_sae(sae, folder / "saes" / str(site))
    return ("--model", shelf.model, "--data", str(folder / "more.jsonl"), "--sae", str(folder / "saes"))


def test_specialize_of_two_sites_is_one_family(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    asked = ("features", "specialize", *words, "--layer", "1-2", "--position", "3")
    ran = run(*asked, "--json", "--out", str(tmp_path / "run"))
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["schema"] == "codi-int/features-specialize-sites@1"
    assert [site["site"]["layer"] for site in document["sites"]] == [1, 2]
    assert document["n_family"] == document["n_tested"] == sum(site["n_tested"] for site in document["sites"])
    assert json.loads((tmp_path / "run" / "features-specialize.json").read_text()) == document
    with (tmp_path / "run" / "features-specialize.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["site"], int(row["feature"])) for row in rows] == [
        (row["site"], row["feature"]) for row in document["rows"]
    ]
    with (tmp_path / "run" / "features-specialize-cells.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    assert [(cell["site"], cell["rule"]) for cell in cells] == [
        (site, rule) for site in ("L1.P3", "L2.P3") for rule in 2 * document["rules"]
    ]
    assert (tmp_path / "run" / "landscape.svg").exists()
    again = run(*asked, "--out", str(tmp_path / "run"))
    assert again.code == 0, again.err
    lines = [line.split() for line in again.out.splitlines()]
    for site in document["sites"]:
        (line,) = [line for line in lines if line[:1] == [f"L{site['site']['layer']}.P3"]]
        assert int(line[1]) == site["cells"][0]["n"]
    assert "over 2 sites as one family" in again.page
    # another site is another run
    other = run("features", "specialize", *words, "--layer", "2", "--position", "3", "--out", str(tmp_path / "run"))
    assert other.code == 2
    assert "holds another run" in other.err


def test_rank_of_two_sites(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    asked = ("features", "rank", *words, "--layer", "1-2", "--position", "3")
    ran = run(*asked, "--json", "--out", str(tmp_path / "run"))
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["schema"] == "codi-int/features-rank-sites@1"
    with (tmp_path / "run" / "features-rank.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [(f"L{one['site']['layer']}.P3", row["feature"]) for one in document["sites"] for row in one["rows"]]
    assert [(row["site"], int(row["feature"])) for row in rows] == expected
    assert (tmp_path / "run" / "firing-rates.svg").exists()
    page = run(*asked, "--top", "2").out
    n = sum(one["n_alive"] for one in document["sites"])
    assert f"{n} of 64 features alive at 2 sites of random" in page
    assert f"and {n - 4} more; --top 4 shows more of each site" in page
    lines = [line.split()[:3] for line in page.splitlines() if line.startswith(("L1.P3", "L2.P3"))]
    assert [(line[0], line[2]) for line in lines[2:]] == [
        (f"L{one['site']['layer']}.P3", str(row["feature"])) for one in document["sites"] for row in one["rows"][:2]
    ]
    beyond = run(*asked, "--rank", "60-64")
    assert beyond.out.splitlines()[-1] == "No site has any of the ranks asked for."


def test_sites_without_an_sae_are_named_and_one_sae_is_not_for_two(
    run: Callable, shelf, words: tuple[str, ...]
) -> None:
    ran = run("features", "rank", *words, "--layer", "0-2", "--position", "3", "--top", "1")
    assert ran.code == 0, ran.err
    assert "No SAE at L0.P3: left out." in ran.err
    ran = run("features", "rank", *words[:4], "--sae", shelf.sae, "--layer", "1-2", "--position", "3")
    assert ran.code == 2
    assert "is one SAE, and there are 2 sites: L1.P3, L2.P3." in ran.err
    ran = run("features", "rank", *words, "--layer", "9", "--position", "3")
    assert ran.code == 2
    assert len(ran.err.strip().splitlines()) == 2
