"""From arms to findings on changes made by hand."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests

from codi_int.data.problems import Problems, load_problems
from codi_int.interventions.evidence.conclusions import detectable_change
from codi_int.interventions.evidence.equivalence import equivalence_exact
from codi_int.interventions.evidence.measure import ArmChange
from codi_int.interventions.evidence.paired import PairedCounts, power
from codi_int.interventions.screens.confirmed import Confirmation
from codi_int.interventions.screens.judging import Again, Judged, _speaking, judge, measure_arms
from codi_int.interventions.screens.sides import SelectionPlan, Sides
from codi_int.records import Estimate

N = 700
PLAN = SelectionPlan(bound=0.02)


def change(broken: Sequence[int], fixed: Sequence[int] = (), touched: int = N, n: int = N) -> ArmChange:
    accuracy = np.zeros(n)
    accuracy[list(broken)], accuracy[list(fixed)] = -1, 1
    return ArmChange(accuracy, accuracy * 0.0, np.arange(n) < touched, accuracy != 0, clusters=np.arange(n))


@pytest.fixture(scope="module")
def problems() -> Problems:
    """With a chain of calculations of its own each, so that every problem is a cluster."""
    seen: dict[tuple, int] = {}
    every = load_problems("stories:sae", limit=4 * N)
    for i, problem in enumerate(every):
        seen.setdefault(tuple((s.left, s.operation, s.right) for s in problem.steps), i)
    return Problems([every[i] for i in seen.values()][: 2 * N], "made")


@pytest.fixture(scope="module")
def sides(problems: Problems) -> Sides:
    return Sides(problems[:N], PLAN, confirming=problems[N:])


ARMS = {
    "holds": change(range(20), range(20, 23)),
    "fades": change(range(30, 50)),
    "turns": change(range(60, 80)),
    "small": change([1], [2]),
    "idle": change([]),
    "wobbles": change(range(100, 125), range(130, 165)),
    "rare": change(range(4), touched=5),
}
THERE = {"holds": change(range(12), [40]), "fades": change([3, 4], [5]), "turns": change([], range(20))}


def again(asked: list[Hashable]) -> Callable[[Sequence[Hashable]], Again]:
    def run(keys: Sequence[Hashable]) -> Again:
        asked.extend(keys)
        return Again({key: THERE[str(key)] for key in keys}, n_correct=650)

    return run


@pytest.fixture(scope="module")
def judged(sides: Sides) -> Judged:
    return judge(list(measure_arms(ARMS, sides).values()), sides, again([]))


def test_only_what_was_selected_is_run_again(sides: Sides) -> None:
    asked: list[Hashable] = []
    judge(list(measure_arms(ARMS, sides).values()), sides, again(asked))
    assert asked == ["holds", "fades", "turns"]


def test_every_arm_gets_its_word(judged: Judged) -> None:
    words = dict(zip(ARMS, (effect.conclusion for effect in judged.effects), strict=True))
    assert words == {
        "holds": "changed",
        # selected and not confirmed; the second change is as sure, and goes the other way
        "fades": "equivalent",
        "turns": "unresolved",
        "small": "equivalent",
        "idle": "equivalent",
        # 60 flips, 25 against 35: neither a change nor surely none
        "wobbles": "unresolved",
        "rare": "equivalent",
    }


def test_estimate_and_test_are_the_confirmation_s(judged: Judged) -> None:
    holds, fades, turns, *rest = judged.confirmations
    assert rest == [None] * 4
    assert holds is not None
    assert fades is not None
    assert turns is not None
    assert (holds.n_broken, holds.n_fixed, holds.accuracy.value) == (12, 1, pytest.approx(-11 / N))
    # Holm over the three that were selected: the surest times 3, the next times 2
    p_turns, p_holds = (binomtest(a, b).pvalue for a, b in ((0, 20), (1, 13)))
    assert turns.accuracy.p_adjusted == pytest.approx(3 * p_turns)
    assert holds.accuracy.p_adjusted == pytest.approx(2 * p_holds)
    assert (holds.confirmed, fades.confirmed, turns.confirmed) == (True, False, False)
    assert holds.power == pytest.approx(power(N, 20 / N, 3 / N, 0.05 / 3))


def test_what_was_done_is_said(judged: Judged, problems: Problems) -> None:
    s = judged.selection
    assert (s.n_tested, s.n_untested, s.n_selected, s.n_confirmed) == (6, 1, 3, 1)
    assert (s.selected_on, s.confirmed_on) == ("made[0:700]", "made[700:1400]")
    assert (s.n_selecting, s.n_confirming, s.n_correct_confirming) == (N, len(problems) - N, 650)
    assert (s.correction, s.bound, s.fewest_for_equivalence) == ("discrete", 0.02, 149)
    assert s.confirmed_sha256 == problems[N:].sha256


def test_too_few_touched_is_untested_where_nothing_bounds_it(problems: Problems) -> None:
    few = Sides(problems[:100], SelectionPlan(bound=0.005), confirming=problems[N:])
    arms = {"rare": change(range(4), touched=5, n=100), "broad": change(range(4), n=100)}
    found = judge(list(measure_arms(arms, few).values()), few)
    assert [effect.conclusion for effect in found.effects] == ["untested", "unresolved"]
    assert [effect.accuracy.p_adjusted is None for effect in found.effects] == [True, False]


def test_without_confirmation_the_family_decides(problems: Problems) -> None:
    alone = Sides(problems[:N], PLAN)
    found = judge(list(measure_arms(ARMS, alone).values()), alone)
    assert [effect.conclusion for effect in found.effects[:3]] == ["changed"] * 3
    assert (found.selection.n_confirmed, found.selection.confirmed_on) == (None, None)
    assert found.confirmations == (None,) * 7


def test_two_folds_select_for_each_other(problems: Problems) -> None:
    folds = np.arange(N) % 2
    sides = Sides(problems[:N], PLAN, folds=folds)
    even, odd = range(0, 60, 2), range(1, 61, 2)
    arms = {
        "both": change(range(40)),
        # strong in one fold, nothing in the other: selected there, refused here
        "one": change(even),
        # in one fold 20 of 20, in the other 8 of 8
        "weak": change([*range(101, 141, 2), *range(200, 216, 2)]),
        "other": change([*odd][:6], [*odd][6:12]),
    }
    found = judge(list(measure_arms(arms, sides).values()), sides)
    assert found.selected == (True, True, True, False)
    assert [one is not None and one.confirmed for one in found.confirmations] == [True, False, True, False]
    both, one, weak, _ = found.confirmations
    assert both is not None
    assert one is not None
    assert weak is not None
    assert one.fold == 0
    assert (one.n, one.n_broken) == (350, 0)
    # both folds select `weak`, and both confirm it; the less sure one speaks, 8 of 8. There two were selected, of which
    # the other is surer (Holm: times 1), and every fold has half the level
    assert (weak.fold, weak.n_broken) == (1, 8)
    assert weak.accuracy.p_adjusted == pytest.approx(2 * binomtest(8, 8).pvalue)
    assert found.selection.confirmed_on == "folds"
    # the other fold shows that it changes less than the bound there: Holm over three, at half the level
    nothing = equivalence_exact(PairedCounts(350, 0, 0), PLAN.bound).p_value
    assert one.p_equivalence == pytest.approx(2 * 3 * nothing)
    assert found.effects[1].conclusion == "equivalent"


def test_what_all_problems_find_and_no_fold_does_is_no_change(problems: Problems) -> None:
    """Eight of eight over all, four of four in either fold: nothing was selected, so nothing is confirmed."""
    sides = Sides(problems[:N], PLAN, folds=np.arange(N) % 2)
    found = judge(list(measure_arms({"spread": change(range(8))}, sides).values()), sides)
    assert found.selected == (False,)
    # over all it would be a finding
    p_value = binomtest(8, 8).pvalue
    assert found.effects[0].accuracy.p_adjusted == pytest.approx(p_value / (1 - p_value))
    assert found.effects[0].conclusion in ("equivalent", "unresolved")


def test_power_is_that_of_the_problems_that_confirm(problems: Problems) -> None:
    few = Sides(problems[:N], PLAN, confirming=problems[N : N + 300])
    arms = {"a": change(range(21)), "b": change(range(30, 50))}
    measured = list(measure_arms(arms, few).values())
    found = judge(measured, few, lambda keys: Again({key: change(range(9), n=300) for key in keys}, 0))
    first = found.confirmations[0]
    assert first is not None
    # 21 of 700 lost where it was selected, two selected, 300 problems to find it again
    assert first.power == pytest.approx(power(300, 21 / 700, 0.0, 0.05 / 2))
    assert (first.n, first.n_broken, first.accuracy.value) == (300, 9, -0.03)


def test_what_folds_say_of_an_arm_is_not_the_better_of_two() -> None:
    nats = Estimate(value=-0.2, low=-0.3, high=-0.1, p_value=0.001, p_adjusted=0.002)
    empty = Confirmation(
        n=350,
        n_broken=9,
        n_fixed=0,
        accuracy=Estimate(value=-0.03, low=-0.05, high=-0.01, p_value=0.004, p_adjusted=0.008),
        logprob=Estimate(value=-0.5, low=None, high=None),
        confirmed=True,
        confirmed_logprob=None,
        power=0.9,
        fold=0,
    )
    surer = replace(empty, accuracy=replace(empty.accuracy, p_adjusted=0.001), fold=1)
    refused = replace(empty, accuracy=replace(empty.accuracy, p_adjusted=0.9), confirmed=False, fold=1)
    # selected by the log-probability alone, and by that confirmed
    other = replace(empty, confirmed=None, power=None, logprob=nats, confirmed_logprob=True, fold=1)
    assert _speaking([empty, surer]) == _speaking([surer, empty]) == empty
    assert _speaking([refused, empty]) == _speaking([empty, refused]) == empty
    assert _speaking([empty, other]) == _speaking([other, empty])
    assert _speaking([empty, other]) == replace(empty, logprob=nats, confirmed_logprob=True)
    assert _speaking([other]) == other


def test_what_was_looked_at_elsewhere_counts_in_the_family(problems: Problems) -> None:
    alone = Sides(problems[:N], SelectionPlan(correction="bh", confirm="none", bound=0.02))
    arms = measure_arms({"a": change(range(10), [20])}, alone)
    others = measure_arms({i: change(range(3), range(3, 6)) for i in range(9)}, alone)
    one, ten = (judge(list(arms.values()), alone, besides=more) for more in ((), list(others.values())))
    p_value = binomtest(1, 11).pvalue
    assert one.effects[0].accuracy.p_adjusted == pytest.approx(p_value)
    assert ten.effects[0].accuracy.p_adjusted == pytest.approx(10 * p_value)
    assert (len(ten.effects), ten.selection.n_tested) == (1, 10)
    assert (one.effects[0].conclusion, ten.effects[0].conclusion) == ("changed", "unresolved")


def test_what_was_looked_at_elsewhere_counts_in_the_families_of_folds(problems: Problems) -> None:
    sides = Sides(problems[:N], SelectionPlan(correction="bh", bound=0.02), folds=np.arange(N) % 2)
    # nine of nine in the even fold, nothing in the other: p = 0.004, which ten tests can bear and twenty cannot
    arms = measure_arms({"a": change(range(0, 18, 2))}, sides)
    others = measure_arms({i: change(range(3), range(3, 6)) for i in range(19)}, sides)
    few, many = (judge(list(arms.values()), sides, besides=list(others.values())[:n]) for n in (9, 19))
    assert (few.selected, many.selected) == ((True,), (False,))


def test_what_was_looked_at_elsewhere_counts_in_the_family_of_equivalence_tests(problems: Problems) -> None:
    alone = Sides(problems[:N], SelectionPlan(confirm="none", bound=0.02))
    arms = measure_arms({"a": change([5], [20])}, alone)
    others = measure_arms({i: change(range(8), range(8, 16)) for i in range(9)}, alone)
    ten = judge(list(arms.values()), alone, besides=list(others.values())).effects[0]
    loud = next(iter(others.values())).effect.p_equivalence
    assert ten.p_equivalence is not None
    assert loud is not None
    # Benjamini and Hochberg's step up by hand: nine equal ones above
    assert ten.p_equivalence_adjusted == pytest.approx(min(10 * ten.p_equivalence, loud))
    assert ten.p_equivalence_adjusted > ten.p_equivalence


def test_chains_that_selected_are_left_out_beside(problems: Problems) -> None:
    # the first 100 confirming problems ask for what selecting ones ask for, in other words
    shared = [replace(p, id=f"again-{i}", question=f"{p.question} Say.") for i, p in enumerate(problems[:100])]
    confirming = Problems([*shared, *problems[N + 100 :]], "shared")
    sides = Sides(problems[:N], PLAN, confirming=confirming)
    arms = {"holds": ARMS["holds"]}
    there = change([*range(5), *range(300, 310)], n=len(confirming))
    found = judge(list(measure_arms(arms, sides).values()), sides, lambda _: Again({"holds": there}, 0))
    (confirmation,) = found.confirmations
    assert confirmation is not None
    assert confirmation.fresh is not None
    assert (confirmation.n_broken, confirmation.n_fresh) == (15, len(confirming) - 100)
    assert confirmation.fresh.value == pytest.approx(-10 / (len(confirming) - 100))
    assert confirmation.fresh.p_value == pytest.approx(binomtest(10, 10).pvalue)


def test_means_are_corrected_and_confirmed_by_their_own_p_values(problems: Problems) -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(size=N)

    def moved(by: float) -> ArmChange:
        return replace(change([]), logprob=noise - noise.mean() + by)

    sides = Sides(problems[:N], SelectionPlan(correction="holm"), confirming=problems[N:])
    measured = list(measure_arms({"strong": moved(-0.3), "weak": moved(-0.0825), "none": moved(0.01)}, sides).values())
    found = judge(measured, sides, lambda keys: Again({key: moved(-0.2) for key in keys}, 0))
    p_values = [one.effect.logprob.p_value for one in measured]
    assert [effect.logprob.p_adjusted for effect in found.effects] == pytest.approx(
        list(multipletests(p_values, method="holm")[1])
    )
    # one by one `weak` would be found, and by a false discovery rate as well
    assert multipletests(p_values, method="fdr_bh")[0].tolist() == [True, True, False]
    assert found.selected_logprob == (True, False, False)
    assert found.selected == (False, False, False)
    confirmation = found.confirmations[0]
    assert confirmation is not None
    assert (confirmation.confirmed, confirmation.confirmed_logprob) == (None, True)
    assert confirmation.logprob.p_adjusted == confirmation.logprob.p_value < 0.001
    assert confirmation.accuracy.p_value == 1.0


def in_pairs(problems: Problems, prefix: str) -> Problems:
    """Every problem twice, in other words: clusters of two, the copies behind."""
    copies = [replace(p, id=f"{prefix}-{i}", question=f"{p.question} Say.") for i, p in enumerate(problems)]
    return Problems([*problems, *copies], "twice")


def test_without_chains_that_selected_clusters_stay_clusters(problems: Problems) -> None:
    # a hundred chains that selected, and three hundred that did not, each twice
    confirming = in_pairs(Problems([*problems[:100], *problems[N : N + 300]], "some"), "again")
    confirming = Problems([replace(p, id=f"c{i}", question=f"{p.question} So.") for i, p in enumerate(confirming)], "c")
    sides = Sides(problems[:N], PLAN, confirming=confirming)
    first = range(200, 206)
    there = replace(change([*first, *(i + 400 for i in first)], n=len(confirming)), clusters=sides.confirming_clusters)
    found = judge(list(measure_arms({"a": ARMS["holds"]}, sides).values()), sides, lambda _: Again({"a": there}, 0))
    (confirmation,) = found.confirmations
    assert confirmation is not None
    assert confirmation.fresh is not None
    assert confirmation.n_fresh == 600
    # twelve flips of six clusters
    assert confirmation.fresh.p_value == pytest.approx(2 * 2**-6)


def test_what_can_be_found_counts_clusters_and_the_smaller_fold(problems: Problems) -> None:
    twice = in_pairs(problems[: N // 2], "copy")
    plan = SelectionPlan(correction="holm", confirm="none")
    alone = Sides(twice, plan)
    arm = replace(change(range(20)), clusters=alone.clusters)
    found = judge(list(measure_arms({"a": arm}, alone).values()), alone)
    assert found.selection.minimum_detectable == detectable_change(PairedCounts(N // 2, 0, 0), 1.0)
    assert found.selection.minimum_detectable != detectable_change(PairedCounts(N, 0, 0), 1.0)
    # (1 - 0.005)^598 < 0.05, and two count as one
    assert found.selection.fewest_for_equivalence == 2 * 598
    small = Sides(problems[:N], plan, folds=(np.arange(N) >= 150).astype(np.int64))
    found = judge(list(measure_arms({"a": change(range(20))}, small).values()), small)
    assert found.selection.minimum_detectable == detectable_change(PairedCounts(150, 0, 0), 1.0)


def test_a_fold_selects_by_cluster(problems: Problems) -> None:
    """Five clusters of two can all go one way once in sixteen; ten problems, once in 512."""
    twice = in_pairs(problems[: N // 2], "copy")
    sides = Sides(twice, SelectionPlan(correction="max-t", bound=0.02), folds=np.arange(N) % (N // 2) % 2)
    for n, selected in ((5, False), (6, True)):
        first = range(0, 2 * n, 2)
        arm = replace(change([*first, *(i + N // 2 for i in first)]), clusters=sides.clusters)
        assert judge(list(measure_arms({"a": arm}, sides).values()), sides).selected == (selected,)


def test_what_confirms_may_show_equivalence_by_holm_over_all_that_was_selected(sides: Sides) -> None:
    there = {"holds": [1, 2, 3], "fades": [1, 2], "turns": [1]}
    found = judge(
        list(measure_arms(ARMS, sides).values()),
        sides,
        lambda keys: Again({key: change(there[str(key)]) for key in keys}, 0),
    )
    raw = [equivalence_exact(PairedCounts(N, len(broken), 0), 0.02).p_value for broken in there.values()]
    assert len(set(raw)) == 3
    several = [one for one in found.confirmations if one is not None]
    expected = multipletests(raw, method="holm")[1]
    assert [one.p_equivalence for one in several] == pytest.approx(list(expected))
    assert [one.p_equivalence for one in several] != pytest.approx(list(multipletests(raw, method="fdr_bh")[1]))
