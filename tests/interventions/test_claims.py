"""What patches claim and what confirms it: hand-made outcomes, and pairs that lie in one fold each."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from codi_int.data.chains import cluster_problems, split_folds
from codi_int.data.problems import Problems, load_problems
from codi_int.errors import ConfigError
from codi_int.interventions.evidence.paired import power
from codi_int.interventions.patching.claims import (
    DIFFERENCE,
    PREDICTION,
    ClaimTest,
    Part,
    confirm_claims,
    file_pairs_in_folds,
    pairs_in_folds,
    read_claims,
)
from codi_int.interventions.patching.pairs import Pairing, find_pairs
from codi_int.interventions.patching.patch import Participants, pair_clusters, participants
from codi_int.interventions.patching.predicted import PredictedResult
from codi_int.interventions.patching.prediction_scores import score_prediction
from codi_int.interventions.patching.predictions import Prediction, Predictions
from codi_int.types import Outcome, Problem, Result, Step
from tests.cli import golden_results as results


def problem(number: int, chain: int) -> Problem:
    return Problem(f"p{number}", f"question {number}", 7, (Step(chain, "addition", 1, chain + 1),))


def patched(members: Participants, hits: list[int], before: list[int]) -> PredictedResult:
    """Every target is to answer 5 and answers 1 otherwise."""
    rows = [
        Prediction(
            problem_id=one.id,
            answer=5 if source >= 0 else None,
            informative=source >= 0,
            why_not=None,
            ambiguous=False,
            source_id=None if source < 0 else members.problems[source].id,
            source_answer=9,
        )
        for one, source in zip(members.problems, members.sources, strict=True)
    ]
    arms = {
        name: tuple(
            Outcome(row.problem_id, 5 if i in yes else 1, False, -1.0, row.informative) for i, row in enumerate(rows)
        )
        for name, yes in (("clean", before), ("intervened", hits))
    }
    predictions = Predictions("five", tuple(rows))
    test = score_prediction(predictions, arms["clean"], arms["intervened"], clusters=pair_clusters(members))
    known = {name: getattr(results.RESULT, name) for name in Result.__dataclass_fields__} | {"outcomes": arms}
    return PredictedResult(**known, prediction=test, predictions=tuple(rows))


# forty targets of chains of their own, and four sources that serve ten of them each
PROBLEMS = tuple(problem(i, i) for i in range(44))
MEMBERS = Participants(PROBLEMS, tuple(40 + i // 10 for i in range(40)) + (-1,) * 4, 1)


def test_a_prediction_is_claimed_by_the_exact_test_of_its_pairs() -> None:
    result = patched(MEMBERS, hits=[0, 1, 2, 10, 20, 30], before=[3])
    claim = read_claims([Part(result, MEMBERS)])[PREDICTION]
    assert (claim.n, claim.n_gained, claim.n_lost) == (40, 6, 1)
    assert claim.estimate == pytest.approx(5 / 40)
    # by targets seven flips; by sources two of the same one, less the one that was lost
    assert claim.p_value == pytest.approx(max(binomtest(1, 7).pvalue, 2 * 2**-4))
    some = read_claims([Part(result, MEMBERS)], frozenset(p.id for p in PROBLEMS[:10]))[PREDICTION]
    assert (some.n, some.n_gained, some.n_lost) == (10, 3, 1)
    # in the middle, five targets of either of two sources: two flips of each of these
    middle = patched(MEMBERS, hits=[5, 6, 10, 11], before=[])
    some = read_claims([Part(middle, MEMBERS)], frozenset(p.id for p in PROBLEMS[5:15]))[PREDICTION]
    assert (some.n, some.n_gained, some.p_value) == (10, 4, pytest.approx(2 * 2**-2))


def test_sources_of_another_value_are_compared_with_those_of_the_same() -> None:
    same, different = (patched(MEMBERS, hits=hits, before=[]) for hits in ([0, 1], [1, 2, 3, 4, 14]))
    parts = [Part(one, MEMBERS) for one in (same, different)]
    claim = read_claims(parts)[DIFFERENCE]
    assert (claim.n, claim.n_gained, claim.n_lost) == (40, 4, 1)
    # by sources three flips less one, and one
    assert claim.p_value == pytest.approx(max(binomtest(1, 5).pvalue, 1.0 * 2 * 0.25))
    none = read_claims(parts, frozenset({"p43"}))
    assert none == {}


def test_a_set_of_its_own_confirms_with_holm_and_the_same_sign() -> None:
    found = {PREDICTION: ClaimTest(100, 0, 20, 1e-5), DIFFERENCE: ClaimTest(80, 2, 12, 0.01)}
    there = {PREDICTION: ClaimTest(90, 0, 10, 0.03), DIFFERENCE: ClaimTest(70, 9, 1, 0.02)}
    one, other = confirm_claims([found], [there])
    assert (one.name, one.fold, one.n_selecting, one.n) == (PREDICTION, None, 100, 90)
    assert (one.estimate, one.selecting_estimate) == (pytest.approx(10 / 90), 0.2)
    # Holm over two: the smaller p doubled, the other not below it
    assert (one.p_adjusted, one.confirmed) == (pytest.approx(0.04), True)
    assert (other.p_adjusted, other.confirmed) == (pytest.approx(0.04), False)  # the other way
    assert one.power == pytest.approx(power(90, 0.0, 0.2, 0.025))


def test_folds_confirm_each_other_at_half_the_level() -> None:
    sides = [{PREDICTION: ClaimTest(50, 0, 9, 0.004)}, {PREDICTION: ClaimTest(40, 0, 6, 0.031)}]
    first, second = confirm_claims(sides, sides[::-1])
    assert (first.fold, first.n, first.p_adjusted, first.confirmed) == (0, 40, pytest.approx(0.062), False)
    assert (second.fold, second.n, second.p_adjusted, second.confirmed) == (1, 50, pytest.approx(0.008), True)
    assert first.power == pytest.approx(power(40, 0.0, 9 / 50, 0.025))
    # what one fold alone found is confirmed by the other, or is not there to be tested
    (alone,) = confirm_claims([{}, sides[1]], [sides[1], {}])
    assert (alone.fold, alone.n, alone.estimate, alone.confirmed, alone.power) == (1, 0, None, False, 0.0)


def test_pairs_of_folds_are_those_that_are_found_in_either() -> None:
    problems = load_problems("stories:validation", limit=80)
    found = pairs_in_folds(problems, lambda some: find_pairs(some, "different", 1))
    folds = split_folds(problems)
    for fold in (0, 1):
        rows = np.flatnonzero(folds == fold)
        assert found.ids[fold] == {problems[i].id for i in rows}
        alone = find_pairs(Problems([problems[i] for i in rows], "alone"), "different", 1)
        expected = [-1 if source < 0 else rows[source] for source in alone.sources]
        assert [found.pairing.sources[i] for i in rows] == expected
    assert found.pairing.n_pairs == sum(found.pairing.matched.values()) > 60
    chains = pair_clusters(participants(problems, found.pairing, 1))
    of = dict(zip(cluster_problems(problems).tolist(), folds.tolist(), strict=True))
    assert chains.shape[1] == 2
    assert set(of.values()) == {0, 1}


def test_folds_without_pairs_are_refused() -> None:
    problems = load_problems("stories:validation", limit=6)
    with pytest.raises(ConfigError, match="Two folds that confirm each other take pairs in either: No problem has a"):
        pairs_in_folds(problems, lambda some: find_pairs(some, "different", 9))


def test_given_pairs_go_into_the_folds_by_groups_that_share_a_calculation() -> None:
    # targets 0 to 19, sources 20 to 39; 0 and 1 share their source, and 2 asks for what source 21 does
    problems = [problem(i, 1 if i == 2 else i) for i in range(40)]
    problems[21] = replace(problems[21], steps=problems[2].steps)
    sources = [20, 20, 22, 21, *range(24, 40), *[-1] * 20]
    found = file_pairs_in_folds(problems, Pairing(tuple(sources), "mine", {}))
    assert found.pairing.sources == tuple(sources)
    both = set().union(*found.ids)
    assert len(both) == 40
    assert not found.ids[0] & found.ids[1]
    for target, source in enumerate(sources[:20]):
        assert any({f"p{target}", f"p{source}"} <= ids for ids in found.ids)
    assert any({"p0", "p1", "p20", "p2", "p3", "p21", "p22"} <= ids for ids in found.ids)  # 1 and 2 have one chain
    assert min(len(ids) for ids in found.ids) > 2


def test_given_pairs_that_hang_together_are_refused() -> None:
    problems = [problem(i, i) for i in range(6)]
    with pytest.raises(ConfigError, match="5 pairs cannot be divided into two folds"):
        file_pairs_in_folds(problems, Pairing((1, 2, 3, 4, 5, -1), "a row", {}))
