"""Swap pairs by hand: which two, what they claim, and on how many problems that would show."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import codi_int as ci
from codi_int.errors import CodiError
from codi_int.features import pairs
from codi_int.features.pairs import read_swap_pairs, swap_pairs, swap_power
from codi_int.features.profiles import Profiles
from codi_int.features.specialization import specialization
from codi_int.interventions.evidence.paired import power
from codi_int.interventions.patching.predicted import needed_problems
from codi_int.types import Problem
from tests.features import test_specialization as made

HAS: dict[str, Callable[[Problem], bool]] = {
    "division": lambda p: any(step.operation == "division" for step in p.steps),
    "addition": lambda p: any(step.operation == "addition" for step in p.steps),
    "number 12": lambda p: any(12 in (step.left, step.right, step.result) for step in p.steps),
    "chance": lambda p: False,
    "none": lambda p: False,
}


@pytest.fixture(scope="module")
def pair(monkeypatch_module: pytest.MonkeyPatch) -> tuple[Profiles, Profiles]:
    monkeypatch_module.setattr(made, "HAS", HAS)
    first = made.made(ci.load_problems("stories:validation", limit=made.N), seed=0)
    return first, made.made(ci.load_problems("stories:sae", limit=made.N), seed=1, data="others")


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_specialists_of_two_operations_are_a_pair(pair: tuple[Profiles, Profiles]) -> None:
    profiles, confirming = pair
    found = swap_pairs(profiles, specialization(profiles, "tested", confirming))
    # the number has nobody to be exchanged with
    assert found.n_pairs == len(found.rows) == 1
    (row,) = found.rows
    assert {row.feature, row.other} == {0, 1}
    assert set(row.claim.split(":")) == {"division", "addition"}
    left, right = profiles.column(row.feature), profiles.column(row.other)
    predicted = ci.predict_answers(ci.parse_claim(row.claim), profiles.problems).rows
    informative = np.array([one.informative for one in predicted])
    assert (row.n_firing, row.n_firing_other) == (int((left != 0).sum()), int((right != 0).sum()))
    assert row.n_both == int(((left != 0) & (right != 0)).sum()) > 0
    # where both fire alike, exchanging them changes nothing
    assert row.n_touched == row.n_firing + row.n_firing_other - 2 * row.n_both
    assert row.n_informative == int(((left != right) & informative).sum())
    assert row.n_needed == needed_problems()
    assert row.has_power == (row.n_informative >= row.n_needed)
    assert row.problems_needed == -(-row.n_needed * made.N // row.n_informative)
    assert row.difference is not None


def test_no_informative_pair_is_left_out_beforehand(pair: tuple[Profiles, Profiles]) -> None:
    """Pairs are sorted by a cheap count first, which has to be an upper limit of what the predictions then say."""
    profiles, confirming = pair
    found = specialization(profiles, "tested", confirming)
    claimed = [one for row in found.rows for one in pairs._claimed(row, "tested")]
    counts = pairs._Counts(profiles, claimed)
    limits = [
        (counts.most_informative(a, b), counts.judge(a, b).n_informative)
        for a, b in combinations(claimed, 2)
        if a.kind == b.kind and a.name != b.name
    ]
    assert limits
    assert all(limit >= n > 0 for limit, n in limits)


def test_the_power_is_that_of_the_swap() -> None:
    assert swap_power(0) == 0.0
    assert swap_power(7) == power(7, 0.01 * 0.9, 0.1 * 0.99, 0.05) < 0.01
    assert swap_power(needed_problems()) >= 0.8


def test_published_pairs_are_judged_alike(pair: tuple[Profiles, Profiles]) -> None:
    profiles, _ = pair
    published = specialization(profiles, "published")
    rows = [
        replace(row, type="operation-specialized", label=label)
        for row, label in zip(published.rows, ("addition", "division", "addition", "mixed", "mixed"), strict=False)
    ]
    found = swap_pairs(profiles, replace(published, rows=tuple(rows)))
    # the first addition specialist stands for both
    assert [(row.feature, row.other, row.claim) for row in found.rows] == [
        (rows[0].feature, rows[1].feature, "addition:division")
    ]
    assert found.rows[0].difference is None


def test_pairs_are_kept_and_read(pair: tuple[Profiles, Profiles], tmp_path: Path) -> None:
    profiles, confirming = pair
    found = swap_pairs(profiles, specialization(profiles, "tested", confirming))
    path = tmp_path / "features-pairs.json"
    path.write_text(json.dumps({"schema": "codi-int/features-pairs@1", "tested": found.to_dict()}))
    again = read_swap_pairs(tmp_path)
    assert again.rows == found.rows
    assert (again.site, again.n_pairs) == (found.site, found.n_pairs)
    path.write_text('{"schema": "codi-int/screen@1"}')
    with pytest.raises(CodiError, match=r"holds no swap pairs\.\nGive the folder of codi-int features pairs --out\."):
        read_swap_pairs(path)
