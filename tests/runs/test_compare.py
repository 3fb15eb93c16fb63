"""Two runs by problem: counts by hand, p-values by scipy, and refusals of runs that cannot be paired."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

import codi_int as ci
from codi_int.data.problems import Problems
from codi_int.errors import ConfigError, DataError
from codi_int.runs.compare import compare_runs
from codi_int.types import (
    Arm,
    Effect,
    Environment,
    Experiment,
    Outcome,
    Problem,
    Result,
    RunCounts,
    Site,
    Step,
)

N = 40


def problem(i: int, right: int = 3) -> Problem:
    return Problem(f"p{i}", f"What is {i} + {right}?", i + right, (Step(i, "addition", right, i + right),))


PROBLEMS = Problems([problem(i) for i in range(N)], "made")
EFFECT = Effect(
    estimate=0.0,
    low=0.0,
    high=0.0,
    confidence=0.95,
    p_value=None,
    method="",
    n=N,
    n_touched=0,
    n_broken=0,
    n_fixed=0,
    n_answer_changed=0,
    logprob=None,
    minimum_detectable=None,
    verdict="",
)


def made(
    wrong: Sequence[int] = (),
    clean_wrong: Sequence[int] = (),
    logprob: float = -0.5,
    model: str = "m",
    problems: Sequence[Problem] = PROBLEMS,
    feature: int = 1,
) -> Result:
    """A run whose edit touches every even problem, answers some wrong, and puts touched answers at `logprob`."""

    def arm(missed: Sequence[int], touched: bool) -> tuple[Outcome, ...]:
        return tuple(
            Outcome(
                problem_id=p.id,
                answer=None if i in missed else p.answer,
                correct=i not in missed,
                answer_logprob=logprob if touched and i % 2 == 0 else -0.1,
                touched=touched and i % 2 == 0,
                answer_margin=1.0,
            )
            for i, p in enumerate(problems)
        )

    return Result(
        experiment=Experiment(
            kind="ablate",
            features=(feature,),
            site=Site(2, 3),
            mode="zero",
            factor=None,
            splice="add",
            propagate="both",
            model=model,
            sae="made",
            data="made",
            n_problems=len(problems),
            seed=0,
            label=f"ablate {feature}",
            sites=(Site(2, 3),),
        ),
        arms={"clean": Arm(1.0, N), "intervened": Arm(1.0, N)},
        effect=EFFECT,
        controls={},
        by_operation=(),
        environment=Environment(
            codi_int="0",
            torch="0",
            model_sha256=model,
            sae_sha256="s",
            data_sha256=Problems(problems, "made").sha256,
            threads=1,
            device="cpu",
            dtype="float32",
            seconds=0.0,
        ),
        counts=RunCounts(pairs=0, skipped=0, suffix_rows=0, decoded=0, rerun=0),
        outcomes={"clean": arm(clean_wrong, False), "intervened": arm([*clean_wrong, *wrong], True)},
    )


def test_the_second_run_is_compared_with_the_first_problem_by_problem() -> None:
    first, second = made(wrong=(0, 2, 4, 6, 8, 10, 12)), made(wrong=(0, 20), logprob=-0.7, feature=9)
    found = ci.compare_runs(first, second, problems=PROBLEMS)
    # problem 0 is wrong in both; six are right in the second alone, one in the first alone
    assert (found.effect.n_fixed, found.effect.n_broken) == (6, 1)
    assert found.effect.estimate == pytest.approx(5 / N)
    assert found.effect.p_value == pytest.approx(binomtest(1, 7).pvalue)
    assert (found.n, found.effect.n_touched, found.differs) == (N, N // 2, ("features",))
    assert (found.first.accuracy, found.second.accuracy) == ((N - 7) / N, (N - 2) / N)
    assert found.clean is None
    assert found.difference.value == pytest.approx(5 / N)
    # of the same clean answer, on the touched half: -0.7 - -0.5
    assert found.effect.logprob.estimate == pytest.approx(-0.1)
    assert found.effect.probability.estimate == pytest.approx((np.exp(-0.7) - np.exp(-0.5)) / 2)
    assert found.effect.verdict.startswith("Unresolved: a difference is not shown")
    assert [row.operation for row in found.by_operation] == ["addition"]
    assert found.by_steps[0].n == N


def test_the_order_decides_the_sign() -> None:
    first, second = made(wrong=range(0, 20, 2)), made()
    one, other = (compare_runs(*pair, problems=PROBLEMS) for pair in ((first, second), (second, first)))
    assert one.effect.estimate == -other.effect.estimate == pytest.approx(10 / N)
    assert one.effect.verdict.startswith("The second run is right more often, by 25.0 points")
    assert other.effect.verdict.startswith("The second run is right less often, by 25.0 points")


def test_of_two_models_the_clean_arms_and_the_effects_are_compared_too() -> None:
    first = made(wrong=(0, 2, 4))
    second = made(wrong=(0, 2), clean_wrong=range(1, 20, 2), model="other", logprob=-9.0)
    found = compare_runs(first, second, problems=PROBLEMS)
    assert not found.same_model
    assert "model" in found.differs
    assert found.clean.estimate == pytest.approx(-10 / N)
    # it loses 2 by its edit where the first loses 3, though it is right less often after it
    assert found.difference.value == pytest.approx(1 / N)
    assert found.effect.estimate == pytest.approx(-9 / N)
    # the log-probabilities are of other answers
    assert found.effect.logprob is None
    assert found.effect.probability is None


def test_equal_calculations_are_one_cluster() -> None:
    # ten broken ones in two calculations, the others in two more
    chains = [Step(i % 4, "addition", 1, i % 4 + 1) for i in range(N)]
    same = Problems([replace(problem(i), steps=(chain,)) for i, chain in enumerate(chains)], "made")
    found = compare_runs(made(wrong=range(0, 20, 2), problems=same), made(problems=same), problems=same)
    alone = compare_runs(made(wrong=range(0, 20, 2)), made(), problems=PROBLEMS)
    assert alone.effect.p_value < 0.05 < found.effect.p_value


def test_runs_that_touch_nothing_are_not_tested() -> None:
    idle = made()
    idle = replace(idle, outcomes={**idle.outcomes, "intervened": idle.outcomes["clean"]})
    found = compare_runs(idle, idle, problems=PROBLEMS)
    assert found.effect.p_value is None
    assert "answer all 40 problems alike" in found.effect.verdict


def test_only_problems_of_both_are_compared() -> None:
    fewer = Problems(PROBLEMS[:30], "made")
    found = compare_runs(made(), made(problems=fewer, wrong=(0,)), problems=PROBLEMS)
    assert found.n == 30
    assert found.effect.n_broken == 1
    assert "data" in found.differs
    assert found.notes == ("10 of 40 problems of the first run are not in the other run.",)


def test_problems_that_are_not_at_hand_are_clusters_of_their_own() -> None:
    found = compare_runs(made(), made(wrong=(2,)))
    assert found.effect.n_broken == 1
    assert found.by_operation == ()
    assert found.notes == ("made is not at hand as it was, so each problem is a cluster of its own.",)


def test_one_id_for_two_problems_is_refused() -> None:
    others = Problems([problem(i, right=4) for i in range(N)], "made")
    with pytest.raises(DataError, match="is not at hand to tell which they share"):
        compare_runs(made(), made(problems=others))


def test_files_with_the_same_ids_and_other_problems_are_refused(tmp_path: Path) -> None:
    from codi_int.data.problems import write_jsonl

    runs = []
    for name, right in (("a", 3), ("b", 4)):
        problems = Problems([problem(i, right=right) for i in range(N)], name)
        write_jsonl(problems, tmp_path / f"{name}.jsonl")
        run = made(problems=problems)
        runs.append(replace(run, experiment=replace(run.experiment, data=str(tmp_path / f"{name}.jsonl"))))
    with pytest.raises(DataError, match=r"Problem p0 of .*a\.jsonl is another one in .*b\.jsonl"):
        compare_runs(*runs)


@pytest.mark.parametrize("bound", [0.0, 0.6])
def test_a_bound_that_is_none(bound: float) -> None:
    with pytest.raises(ConfigError, match="bound"):
        compare_runs(made(), made(wrong=(0,)), problems=PROBLEMS, bound=bound)


def test_no_problem_in_common() -> None:
    others = Problems([replace(problem(i), id=f"q{i}") for i in range(N)], "made")
    with pytest.raises(DataError, match="no problem in common"):
        compare_runs(made(), made(problems=others))


def test_a_result_without_outcomes() -> None:
    with pytest.raises(DataError, match="without its outcomes"):
        compare_runs(made(), replace(made(), outcomes={}))


def test_a_comparison_is_kept_shown_and_read_back(tmp_path: Path) -> None:
    found = compare_runs(made(wrong=(0, 2)), made(), problems=PROBLEMS)
    found.save(tmp_path / "kept")
    assert ci.load_result(tmp_path / "kept") == found
    assert list(found.to_frame()["compared"]) == ["intervened", "effect"]
    assert repr(found).startswith("RunComparison: the second run minus the first run, 40 problems of both")
