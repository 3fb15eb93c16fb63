"""The table of verdicts: every claim once, evidence that exists, and numbers that are those of the tables they name."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from benchmark_scripts import benchmark_script
from scipy.stats import fisher_exact

from codi_int.cli.main import all_commands

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).parents[2] / "shared" / "claims.csv"
TABLE = ROOT / "docs" / "results" / "claims.csv"
COUNTS = {"k50": 23, "dict": 21, "grid": 19, "act": 19, "sem": 18}


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """benchmarks/claims.py."""
    with benchmark_script("claims") as module:
        yield module


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_claim_is_there_once(rows: list[dict[str, str]]) -> None:
    wanted = [f"{report}-{number:02d}" for report, n in COUNTS.items() for number in range(1, n + 1)]
    assert [row["id"] for row in rows] == wanted
    assert len(wanted) == 100


def test_they_are_the_listed_ones(rows: list[dict[str, str]]) -> None:
    if not LIST.is_file():
        pytest.skip("the list of claims is not at hand")
    with LIST.open(encoding="utf-8", newline="") as file:
        assert sorted(row["id"] for row in csv.DictReader(file)) == sorted(row["id"] for row in rows)


def test_every_evidence_names_a_command_that_exists(rows: list[dict[str, str]]) -> None:
    commands = {name for name, _ in all_commands()}
    for row in rows:
        if not row["verdict"]:
            assert not any(row[name] for name in row if name != "id"), row["id"]
            continue
        assert all(row[name] for name in ("command", "numbers", "n", "reason")), row["id"]
        assert re.search(r"\d", row["numbers"]), row["id"]
        program, *words = row["command"].split()
        if program == "python":
            assert (ROOT / words[0]).is_file(), row["command"]
        else:
            assert program == "codi-int"
            assert " ".join(words[:1]) in commands or " ".join(words[:2]) in commands, row["command"]


def test_verdicts(rows: list[dict[str, str]]) -> None:
    assert {row["verdict"] for row in rows} == {"holds", "does not hold", "cannot be told", ""}
    for row in rows:
        if row["verdict"] == "cannot be told" and "K itself at width 2,048" not in row["reason"]:
            assert float(row["power"]) < 0.5, row["id"]


def test_table_and_page_are_what_the_script_finds(
    script: ModuleType, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    found = script.verdicts()
    script.write(found, tmp_path / "claims.csv")
    assert (tmp_path / "claims.csv").read_text() == TABLE.read_text()
    assert script.section(found) in script.PAGE.read_text(encoding="utf-8")
    undecided = sum(not row["verdict"] for row in rows)
    assert script.section(found).splitlines()[-1].endswith(f"| {undecided} |")


def test_power_is_that_of_drawn_tables(script: ModuleType) -> None:
    """4,000 draws at the shares themselves; three standard errors are 2.4 points."""
    generator = np.random.default_rng(0)
    drawn = np.stack([generator.binomial(151, 1 / 151, 4000), generator.binomial(109, 5 / 109, 4000)], axis=1)
    known: dict[tuple[int, int], bool] = {}
    for a, b in drawn.tolist():
        if (a, b) not in known:
            known[a, b] = fisher_exact([[a, 151 - a], [b, 109 - b]]).pvalue < 0.05
    share = np.mean([known[a, b] for a, b in drawn.tolist()])
    assert script.fisher_power((1, 151), (5, 109)) == pytest.approx(share, abs=0.024)
    assert script.fisher_power((50, 100), (5, 100)) > 0.99


def test_order_of_groups_of_seeds(script: ModuleType) -> None:
    assert script._rises([[1.0, 2.0], [2.5, 3.0], [4.0]])
    assert not script._rises([[1.0, 2.6], [2.5, 3.0]])
    assert not script._rises([[2.0], [1.0]])


def test_numbers_are_those_of_the_tables(rows: list[dict[str, str]]) -> None:
    """Read again here, another way, with numpy."""
    known = {row["id"]: row["numbers"] for row in rows}
    with (ROOT / "docs" / "results" / "curves.csv").open(newline="") as file:
        grid = [row for row in csv.DictReader(file) if row["part"] == "grid"]
    for k, words in ((9, "90.4"), (5, "87.3"), (2, "79.7")):
        values = [float(row["explained_variance"]) for row in grid if row["k"] == str(k) and row["d_sae"] == "512"]
        assert f"{100 * np.mean(values):.1f}" == words
        assert f"{words} ({100 * min(values):.1f} to {100 * max(values):.1f})" in known["k50-04"]
    with (ROOT / "docs" / "results" / "causal-map" / "screen.csv").open(newline="") as file:
        screen = list(csv.DictReader(file))
    rates, lows = (np.array([float(row[name]) for row in screen]) for name in ("firing_rate", "low"))
    assert f"is {100 * lows[np.argsort(-rates)[:20]].min():.2f} points" in known["act-16"]
    rare = (rates > 0) & (rates <= 0.028)
    assert known["act-17"].startswith(f"{(lows[rare] > -0.01).sum()} of {rare.sum()} ")


def test_no_more_than_a_third_is_left_open(rows: list[dict[str, str]]) -> None:
    """Claims about K itself at another width do not count: no run here can decide them."""
    open_rows = [row for row in rows if row["verdict"] == "cannot be told"]
    assert len([row for row in open_rows if "K itself" not in row["reason"]]) <= len(rows) / 3
    page = (TABLE.parent / "published-experiments.md").read_text(encoding="utf-8")
    shown = page[page.index("<!-- open: begin -->") : page.index("<!-- open: end -->")]
    assert [row["id"] for row in open_rows if f"| {row['id']} |" not in shown] == []
    assert [row["id"] for row in rows if not row["verdict"] and row["id"] not in shown] == []
