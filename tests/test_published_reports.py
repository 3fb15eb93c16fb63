"""The published reports against themselves: the arithmetic, by other ways than the script's, and the page."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from benchmark_scripts import benchmark_script
from scipy.stats import hypergeom

ROOT = Path(__file__).parents[1]
SEEDS = Path(__file__).parents[2] / "shared" / "seeds"
FILES = {"k50": "000", "dict": "001", "grid": "002", "act": "003", "sem": "004"}
PAGE = ROOT / "docs" / "results" / "published-experiments.md"
COUNTED = (
    *("samples_of_332", "samples_of_332_that_multiply"),
    *("numbers_of_350_with_50_inside", "numbers_of_350_equal_to_50"),
)
"""what stands in the reports as samples and is counted in them"""


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """benchmarks/published_reports.py."""
    with benchmark_script("published_reports") as module:
        yield module


@pytest.fixture(scope="module")
def numbers(script: ModuleType) -> dict[str, str]:
    return {one.name: one.numbers for one in script.findings()}


def test_shares_over_all_alive_features(numbers: dict[str, str]) -> None:
    """29 of 348, 8 of 207, 30 of 455, and 5 + 1 of 508."""
    shares = np.array([29, 8, 30, 6]) / np.array([348, 207, 455, 508]) * 100
    found = numbers["windows"].split("over all alive ones at least ")[1]
    assert [float(one) for one in re.findall(r"([\d.]+) %", found)] == shares.round(1).tolist()
    windows = np.array([149, 108, 156, 109]) / np.array([348, 207, 455, 508]) * 100
    assert [int(one) for one in re.findall(r"(\d+) %", numbers["windows"].split(" of the alive")[0])] == [
        round(one) for one in windows
    ]


def test_fisher_is_the_sum_of_the_tables_that_are_no_likelier(numbers: dict[str, str]) -> None:
    def by_hand(hits: int, n: int, others: int, m: int) -> float:
        law = hypergeom(n + m, hits + others, n)
        chances = law.pmf(np.arange(hits + others + 1))
        return float(chances[chances <= law.pmf(hits) * (1 + 1e-9)].sum())

    assert f"p = {by_hand(8, 108, 29, 149):.3f}" in numbers["dictionary-size"]
    assert f"p = {by_hand(8, 207, 29, 348):.3f}" in numbers["dictionary-size"]
    assert by_hand(8, 108, 29, 149) < 0.05 < by_hand(8, 207, 29, 348)


def test_pareto_front(script: ModuleType) -> None:
    """By hand: at each K the largest explained variance alone survives where death does not count."""
    p = script.Published()
    assert script.pareto(p, with_death=False) == [(5, 2048), (10, 2048), (20, 2048), (100, 1024)]
    left_out = {(k, d) for k in (5, 10, 20, 100) for d in (512, 1024, 2048)} - set(script.pareto(p, with_death=True))
    assert left_out == {(100, 2048)}


def test_thresholds_give_back_the_published_death(script: ModuleType) -> None:
    p = script.Published()
    found = script.thresholds_of(p)
    assert len(found) == 11
    assert (100, 512) not in found
    for (k, d), threshold in found.items():
        assert 100 * (1 - k * 7473 / (d * threshold)) == pytest.approx(p("grid", "dead_percent", k, d))
    assert (round(min(found.values())), round(max(found.values()))) == (275, 742)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("inverse-k", "13.0, 9.8, 4.9 %"),
        ("active-share", "50/250 is 20 %"),
        ("efficiency-range", "2.3, 1.6, 1.8"),
        ("active-range", "512, 1,007, 1,888"),
        ("quality-jump", "7.4, 6.7, 6.0"),
        ("trained-twice", "0.2 and 0.3 points of explained variance and 2.4 and 0.7"),
        ("checkpoints", "8.4 and 4.1 MB in float32, 10 and 11 times less"),
        ("efficiency-death", "prefers K=5, d=512, number 1 from below"),
        ("early-general", "p = 1 (Fisher)"),
        ("ranks-end", "hold 109 features: 4 fire"),
    ],
)
def test_what_the_numbers_give(numbers: dict[str, str], name: str, words: str) -> None:
    assert words in numbers[name]


def test_the_page_is_what_the_script_prints(script: ModuleType) -> None:
    assert script.section(script.findings()) in PAGE.read_text(encoding="utf-8")


def test_a_number_that_is_not_in_the_table_is_an_error(script: ModuleType) -> None:
    with pytest.raises(KeyError):
        script.Published()("grid", "ev_percent", 7, 512)


def test_every_number_stands_in_its_report(script: ModuleType) -> None:
    if not SEEDS.is_dir():
        pytest.skip("the published reports are not at hand")
    texts = {name: next(SEEDS.glob(f"{start}_*")).read_text(encoding="utf-8") for name, start in FILES.items()}
    missing = []
    for (report, quantity, *rest), value in script.Published().values.items():
        if report not in texts or quantity in COUNTED:
            continue
        forms = {f"{value:g}", f"{value:,g}", f"{value:.1f}", f"{value / 100:.3f}", f"{value:.4f}", f"{value:,.0f}"}
        if not any(re.search(rf"(?<![\d.]){re.escape(form)}(?!\d)", texts[report]) for form in forms):
            missing.append((report, quantity, *rest, value))
    assert not missing


def test_sections_of_kept_runs_hold_the_numbers_of_their_tables() -> None:
    """Every kept table beside the page, read again: its published and found numbers stand in the section."""
    page = PAGE.read_text(encoding="utf-8")
    tables = sorted((ROOT / "docs" / "results" / "reproductions").glob("*.csv"))
    assert tables
    for table in tables:
        section = page.split(f"$ codi-int reproduce {table.stem} ")[1].split("```")[0]
        with table.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                for name in ("published", "here", "honest_value"):
                    if row[name] and row["unit"]:
                        assert f"{round(float(row[name]) + 0.0, 1):.1f}".replace("-0.0", "0.0") in section, row
