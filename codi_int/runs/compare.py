"""Two kept runs problem by problem: two models, SAEs, sites or edits, with the statistics of one."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codi_int.data.chains import cluster_problems
from codi_int.data.problems import ProblemsLike, as_problems, load_problems
from codi_int.errors import CodiError, DataError
from codi_int.interventions.engine.subgroups import operation_rows, steps_rows
from codi_int.interventions.engine.summary import change_between
from codi_int.interventions.evidence.betting import METHOD, estimate_bounded
from codi_int.interventions.evidence.compare import effect_of
from codi_int.interventions.evidence.equivalence import BOUND
from codi_int.interventions.evidence.measure import ArmChange
from codi_int.interventions.kept import load_result
from codi_int.records import Estimate, flatten
from codi_int.shown import Finding
from codi_int.types import Effect, Experiment, OperationRow, Outcome, Problem, Result, StepsRow

ARM = "intervened"
NOT_COMPARED = ("label", "n_problems", "sites")
"""fields of an experiment that follow from others, or from how many problems there were"""
PAIRED = "paired by problem with the first run"


@dataclass(frozen=True)
class ComparedRun:
    """One of the two."""

    name: str
    """its folder, or what else it is called"""
    experiment: Experiment
    """what was done"""
    n_problems: int
    """problems that it ran on"""
    clean_accuracy: float
    """share of right answers of the undisturbed model, on the problems of both"""
    accuracy: float
    """the same in its intervened arm"""


@dataclass(frozen=True, repr=False)
class RunComparison(Finding):
    """What the second run does beyond the first, on the problems that both ran on."""

    first: ComparedRun
    """the one that is departed from"""
    second: ComparedRun
    """the other"""
    n: int
    """problems of both"""
    differs: tuple[str, ...]
    """settings in which the two experiments differ, such as `features` or `sae`"""
    same_model: bool
    """whether the same weights ran: the clean arms are one, and log-probabilities are of the same answers"""
    effect: Effect
    """intervened arm of the second minus that of the first"""
    clean: Effect | None
    """clean arm of the second minus that of the first; None where the same weights ran"""
    difference: Estimate
    """effect of the second minus effect of the first, of accuracy, paired by problem; betting interval on [-2, 2].
    With the same weights its mean is that of `effect`"""
    by_operation: tuple[OperationRow, ...] = ()
    """`effect` by operation of the written steps; empty where the problems are not at hand"""
    by_steps: tuple[StepsRow, ...] = ()
    """`effect` by number of written steps"""
    seed: int = 0
    """of the bootstrap"""
    notes: tuple[str, ...] = ()
    """what a reader should know besides"""

    model_sha256: tuple[str, str] = ("", "")
    """weights of the model of each run"""
    data_sha256: tuple[str, str] = ("", "")
    """problems of each run"""

    schema = "codi-int/comparison@1"

    def table_rows(self) -> list[dict[str, Any]]:
        """A row for each comparison: of the intervened arms, of the clean arms, of the effects."""
        named = {"intervened": self.effect, "clean": self.clean}
        rows: list[dict[str, Any]] = [
            {"compared": name, **{key: getattr(one, key) for key in ("estimate", "low", "high", "p_value")}}
            for name, one in named.items()
            if one is not None
        ]
        found = self.difference
        beside = {"low": found.low, "high": found.high, "p_value": found.p_value}
        return [*rows, {"compared": "effect", "estimate": found.value, **beside}]

    @property
    def inputs(self) -> dict[str, str]:
        """Hashes of what was read, as a manifest has them."""
        return {"model": ",".join(self.model_sha256), "data": ",".join(self.data_sha256)}

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain JSON types."""
        return {"schema": self.schema, **flatten({name: getattr(self, name) for name in self.__dataclass_fields__})}


def compare_runs(
    first: Result | str | Path,
    second: Result | str | Path,
    *,
    problems: ProblemsLike | None = None,
    seed: int = 0,
    bound: float = BOUND,
) -> RunComparison:
    """Pair two runs of an edit by problem and compare what their intervened arms answer.

    The estimand is the mean change per problem from the first run to the second. Clusters of problems with the same
    calculations enter as everywhere, where the problems are at hand: the runs say which they were.

    Args:
        first: a result, or the folder that keeps one.
        second: the other.
        problems: what both ran on, where it cannot be loaded by its name.
        seed: of the bootstrap.
        bound: the smallest difference of accuracy that matters, declared beforehand.

    Raises:
        DataError: a folder without a result of an edit, runs without a problem in common, or an id that names another
            problem in each of them.
        ConfigError: a bound outside (0, 0.5].
    """
    runs = [_read(first), _read(second)]
    names = [
        f"the {word} run" if isinstance(one, Result) else str(one)
        for one, word in zip((first, second), ORDER, strict=True)
    ]
    shared = _shared_ids(runs, names)
    arms = [{arm: _ordered(rows, shared) for arm, rows in run.outcomes.items()} for run in runs]
    known, notes = _find_problems(runs, shared, problems)
    clusters = None if known is None else cluster_problems(known)
    same_model = runs[0].environment.model_sha256 == runs[1].environment.model_sha256
    change = _change(arms[0][ARM], arms[1][ARM], clusters, same_model)
    effect = _effect(change, same_model, seed=seed, bound=bound)
    clean = None if same_model else _change(arms[0]["clean"], arms[1]["clean"], clusters, same_model)
    beyond = change.accuracy - (0.0 if clean is None else clean.accuracy)
    return RunComparison(
        first=_describe(names[0], runs[0], arms[0]),
        second=_describe(names[1], runs[1], arms[1]),
        n=len(shared),
        differs=_differing(runs),
        same_model=same_model,
        effect=effect,
        clean=None if clean is None else _effect(clean, same_model, seed=seed, bound=bound),
        difference=replace(
            estimate_bounded(beyond, 2.0, clusters=clusters),
            method=change.groups.named(METHOD),
        ),
        by_operation=() if known is None else operation_rows(known, change, seed),
        by_steps=() if known is None else steps_rows(known, change, seed),
        seed=seed,
        notes=(*_partial(runs, names, len(shared)), *notes),
        model_sha256=(runs[0].environment.model_sha256, runs[1].environment.model_sha256),
        data_sha256=(runs[0].environment.data_sha256, runs[1].environment.data_sha256),
    )


ORDER = ("first", "second")


def _read(run: Result | str | Path) -> Result:
    found = run if isinstance(run, Result) else load_result(run)
    if not isinstance(found, Result):
        kind = type(found).__name__
        raise DataError(
            f"{run} holds no outcomes of single problems: it is a kept {kind}.",
            "Give two folders that ablate, amplify, swap or patch have kept with --out.",
        )
    if not {ARM, "clean"} <= found.outcomes.keys():
        raise DataError(
            "A result without its outcomes cannot be paired by problem.", "Give the folder that keeps it, or run again."
        )
    return found


def _shared_ids(runs: Sequence[Result], names: Sequence[str]) -> list[str]:
    """The problems of both, in the order of the first."""
    ids = [[outcome.problem_id for outcome in run.outcomes[ARM]] for run in runs]
    other = set(ids[1])
    shared = [one for one in ids[0] if one in other]
    if not shared:
        raise DataError(
            f"{names[0]} ran on {runs[0].experiment.data}, {names[1]} on {runs[1].experiment.data}: "
            "they have no problem in common.",
            "Run both on the same --data.",
        )
    return shared


def _ordered(rows: Sequence[Outcome], ids: Sequence[str]) -> list[Outcome]:
    by_id = {row.problem_id: row for row in rows}
    return [by_id[one] for one in ids]


def _find_problems(
    runs: Sequence[Result], shared: Sequence[str], given: ProblemsLike | None
) -> tuple[list[Problem] | None, tuple[str, ...]]:
    """The problems of both, where they are at hand and what the runs saw; and what to say where they are not."""
    tables = [problems_of(run, given) for run in runs]
    same_data = runs[0].environment.data_sha256 == runs[1].environment.data_sha256
    if same_data and None in tables:
        note = f"{runs[0].experiment.data} is not at hand as it was, so each problem is a cluster of its own."
        return None, (note,)
    if None in tables:
        # ids alone do not tell that two files hold the same problems
        missing = runs[tables.index(None)].experiment.data
        raise DataError(
            f"The runs have different problems, and {missing} is not at hand to tell which they share.",
            "Give --data with the problems of both, or run both on the same ones.",
        )
    one, other = ({problem.id: problem for problem in table or ()} for table in tables)
    for name in shared:
        if (one[name].question, one[name].answer) != (other[name].question, other[name].answer):
            raise DataError(
                f"Problem {name} of {runs[0].experiment.data} is another one in {runs[1].experiment.data}.",
                "Run both on the same --data.",
            )
    return [one[name] for name in shared], ()


def problems_of(run: Result, given: ProblemsLike | None = None) -> Sequence[Problem] | None:
    """What a run ran on; None where that cannot be had any more."""
    if given is not None:
        found = as_problems(given)
        ids = {outcome.problem_id for outcome in run.outcomes[ARM]}
        return found if ids <= {problem.id for problem in found} else None
    try:
        named = load_problems(run.experiment.data, run.experiment.n_problems)
    except CodiError:
        return None
    return named if named.sha256 == run.environment.data_sha256 else None


def _change(
    before: Sequence[Outcome], after: Sequence[Outcome], clusters: NDArray[np.int64] | None, same_model: bool
) -> ArmChange:
    """From one arm to another; with the same weights, problems that neither run touches are equal."""
    either = [replace(b, touched=a.touched or b.touched or not same_model) for a, b in zip(before, after, strict=True)]
    change = change_between(before, either, clusters)
    # of another model these are of another answer
    return change if same_model else replace(change, logprob=np.zeros(len(before)), margin=None, probability=None)


def _effect(change: ArmChange, same_model: bool, *, seed: int, bound: float) -> Effect:
    """The change as an effect, whose verdict speaks of two runs."""
    effect = effect_of(change, seed, bound=bound)
    if not same_model:
        effect = replace(effect, logprob=None, n_effective=None, share_of_largest=None, symmetry=None)
    return replace(effect, verdict=_verdict(effect))


def _verdict(effect: Effect) -> str:
    """What the conclusion means of two runs."""
    flips = f"{effect.n_broken:,} right in the first alone, {effect.n_fixed:,} in the second alone"
    interval = f"{effect.confidence:.0%} interval {100 * effect.low:+.1f} to {100 * effect.high:+.1f}"
    if not effect.n_touched:
        return f"The two runs answer all {effect.n:,} problems alike, for neither edit changes anything on them."
    if effect.conclusion == "changed":
        word = "less" if effect.estimate < 0 else "more"
        size = f"{100 * abs(effect.estimate):.1f} points"
        return f"The second run is right {word} often, by {size} ({interval}, p = {effect.p_value:.2g}; {flips})."
    bound = f"{100 * (effect.bound or BOUND):.2g} points"
    if effect.conclusion == "equivalent":
        p = f"p = {effect.p_equivalence:.2g}"
        return f"The two runs are equally often right within {bound}: more than that is ruled out ({p}; {flips})."
    if effect.conclusion == "untested":
        return f"Untested: the runs can differ on {effect.n_touched:,} problems, too few for any test ({flips})."
    return (
        f"Unresolved: a difference is not shown, nor is one of {bound} ruled out ({interval}, "
        f"p = {effect.p_value:.2g}; {flips})."
    )


def _describe(name: str, run: Result, arms: dict[str, list[Outcome]]) -> ComparedRun:
    clean, intervened = (sum(row.correct for row in arms[arm]) / len(arms[arm]) for arm in ("clean", ARM))
    return ComparedRun(name, run.experiment, run.experiment.n_problems, clean_accuracy=clean, accuracy=intervened)


def _differing(runs: Sequence[Result]) -> tuple[str, ...]:
    """Settings in which the experiments differ; of model and SAE the weights, not the names, decide."""
    one, other = (asdict(run.experiment) for run in runs)
    weights = {"model": "model_sha256", "sae": "sae_sha256", "data": "data_sha256"}
    settings = [name for name in one if name not in (*NOT_COMPARED, *weights) and one[name] != other[name]]
    hashes = [
        name
        for name, field in weights.items()
        if getattr(runs[0].environment, field) != getattr(runs[1].environment, field)
    ]
    return (*settings, *hashes)


def _partial(runs: Sequence[Result], names: Sequence[str], n: int) -> tuple[str, ...]:
    """Notes on problems that only one of the runs has."""
    sizes = [(run.experiment.n_problems, name) for run, name in zip(runs, names, strict=True)]
    return tuple(
        f"{size - n:,} of {size:,} problems of {name} are not in the other run." for size, name in sizes if size > n
    )
