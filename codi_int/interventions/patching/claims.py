"""What a patch claims, and whether problems that found nothing confirm it: on a set of their own, or fold by fold.

A claim is a prediction that comes true more (or less) often than before, or a difference between sources of another
value and of the same one. What some problems find is tested again on others, with Holm's correction over what was found
and the same sign; two folds that find and confirm each other have half the level each.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codi_int.data.chains import cluster_problems, split_folds
from codi_int.data.problems import Problems, name_of_problems
from codi_int.errors import ConfigError
from codi_int.interventions.evidence.confirmation import Candidate, confirm, confirmation_power
from codi_int.interventions.evidence.paired import PairedCounts
from codi_int.interventions.patching.pairs import Pairing
from codi_int.interventions.patching.patch import Participants, compare_values, pair_clusters
from codi_int.interventions.patching.predicted import PredictedResult
from codi_int.interventions.patching.prediction_scores import score_prediction
from codi_int.interventions.patching.predictions import Predictions
from codi_int.types import Problem

PREDICTION, DIFFERENCE = "the prediction", "the difference between values"
ALPHA = 0.05


@dataclass(frozen=True)
class ClaimTest:
    """Something that a patch says, on some problems."""

    n: int
    """problems that were tested"""
    n_lost: int
    """yes before, no after"""
    n_gained: int
    """no before, yes after"""
    p_value: float | None
    """exact, by cluster of targets and sources; the larger one"""

    @property
    def estimate(self) -> float:
        """Change of the share."""
        return (self.n_gained - self.n_lost) / self.n


@dataclass(frozen=True)
class ConfirmedClaim:
    """A claim that some problems found, on problems that did not."""

    name: str
    """what is claimed"""
    fold: int | None
    """the fold that found it, where two folds confirm each other"""
    n_selecting: int
    """problems that found it"""
    selecting_estimate: float
    """change of the share there"""
    n: int
    """problems that confirm; 0 where there are none to test it on"""
    estimate: float | None
    """change of the share on them"""
    p_value: float | None
    """of the same exact test"""
    p_adjusted: float | None
    """Holm over what was found, times the number of folds"""
    confirmed: bool
    """adjusted p below the level, and the same sign"""
    power: float
    """chance that a change as large as the one found is confirmed; what is found looks large, so at most that"""


@dataclass(frozen=True)
class Part:
    """A patch on its pairs."""

    result: PredictedResult
    """what came of it"""
    members: Participants
    """targets and sources"""


def read_claims(parts: Sequence[Part], only: frozenset[str] | None = None) -> dict[str, ClaimTest]:
    """What the patches claim, by name: of a prediction, and of two kinds of pairs how they differ.

    Args:
        parts: one patch, or one of sources of the same value and one of another.
        only: ids of the problems that count; all by default.
    """
    found: dict[str, ClaimTest] = {}
    for part in parts:
        claim = _prediction(part, only)
        if claim is not None:
            found[PREDICTION] = claim
    if len(parts) == 2:
        same, different = (part.result for part in parts)
        everybody = {p.id: p for part in parts for p in part.members.problems}
        both = compare_values(same, different, problems=list(everybody.values()), only=only)
        if both is not None:
            found[DIFFERENCE] = ClaimTest(both.before.size, *_flips(both.before, both.after), both.found.p_value)
    return found


def _prediction(part: Part, only: frozenset[str] | None) -> ClaimTest | None:
    rows = part.result.predictions
    inside = [i for i, row in enumerate(rows) if only is None or row.problem_id in only]
    arms = {name: [part.result.outcomes[name][i] for i in inside] for name in ("clean", "intervened")}
    if part.result.prediction is None or not inside:
        return None
    test = score_prediction(
        Predictions(part.result.prediction.claim, tuple(rows[i] for i in inside)),
        arms["clean"],
        arms["intervened"],
        clusters=pair_clusters(part.members)[inside],
    )
    if not test.n_tested:
        return None
    return ClaimTest(test.n_tested, test.n_lost, test.n_gained, test.p_value)


def _flips(before: NDArray[np.float64], after: NDArray[np.float64]) -> tuple[int, int]:
    return int((before > after).sum()), int((after > before).sum())


def confirm_claims(
    selecting: Sequence[Mapping[str, ClaimTest]], confirming: Sequence[Mapping[str, ClaimTest]]
) -> tuple[ConfirmedClaim, ...]:
    """What was found among the claims of each side, on the side that confirms it.

    Args:
        selecting: the claims of the problems that find, or of either fold.
        confirming: the same of those that confirm them, in the same order.
    """
    n_folds = len(selecting)
    names = [
        [name for name, one in side.items() if one.p_value is not None and one.p_value < ALPHA] for side in selecting
    ]
    nothing = ClaimTest(1, 0, 0, None)
    folds = confirm(
        [
            [
                Candidate(name, here[name].estimate, (other := there.get(name, nothing)).estimate, other.p_value)
                for name in found
            ]
            for found, here, there in zip(names, selecting, confirming, strict=True)
        ],
        ALPHA,
    )
    out = []
    for fold, (verdicts, here, there) in enumerate(zip(folds, selecting, confirming, strict=True)):
        for one in verdicts:
            before, after = here[str(one.key)], there.get(str(one.key))
            n = 0 if after is None else after.n
            counts = PairedCounts(before.n, before.n_lost, before.n_gained)
            out.append(
                ConfirmedClaim(
                    name=str(one.key),
                    fold=fold if n_folds > 1 else None,
                    n_selecting=before.n,
                    selecting_estimate=before.estimate,
                    n=n,
                    estimate=None if after is None else after.estimate,
                    p_value=None if after is None else after.p_value,
                    p_adjusted=one.p_adjusted,
                    confirmed=one.confirmed,
                    power=confirmation_power(counts, n, len(verdicts), n_folds, ALPHA) if n else 0.0,
                )
            )
    return tuple(out)


@dataclass(frozen=True)
class PairFolds:
    """Pairs that lie in one fold each, so that the folds share no problem."""

    pairing: Pairing
    """of all problems"""
    ids: tuple[frozenset[str], frozenset[str]]
    """of the problems of either fold"""


def pairs_in_folds(problems: Sequence[Problem], find: Callable[[Problems], Pairing]) -> PairFolds:
    """Pairs that are found in either of two folds by hash of the chain, put together.

    Args:
        problems: of the run.
        find: from problems to their pairs.

    Raises:
        ConfigError: where a fold has no pairs.
    """
    folds, name = split_folds(problems), name_of_problems(problems)
    sources, matched, origin = [-1] * len(problems), dict[str, int](), ""
    for fold in (0, 1):
        rows = np.flatnonzero(folds == fold).tolist()
        try:
            found = find(Problems([problems[i] for i in rows], f"{name}, fold {fold + 1} of 2"))
        except ConfigError as error:
            raise ConfigError(
                f"Two folds that confirm each other take pairs in either: {str(error).splitlines()[0]}",
                "Take more problems, give --confirm other problems, or --confirm none.",
            ) from error
        origin = found.origin
        for row, source in zip(rows, found.sources, strict=True):
            sources[row] = -1 if source < 0 else rows[source]
        for match, count in found.matched.items():
            matched[match] = matched.get(match, 0) + count
    ids = tuple(frozenset(p.id for p, where in zip(problems, folds, strict=True) if where == f) for f in (0, 1))
    return PairFolds(Pairing(tuple(sources), f"{origin}, within two folds", matched), (ids[0], ids[1]))


def file_pairs_in_folds(problems: Sequence[Problem], pairing: Pairing) -> PairFolds:
    """Given pairs, whole groups of which go into one fold: whoever shares a problem or a chain of calculations.

    Raises:
        ConfigError: where all pairs hang together.
    """
    clusters = cluster_problems(problems)
    group = np.arange(int(clusters.max()) + 1)

    def root(one: int) -> int:
        while group[one] != one:
            one = int(group[one])
        return one

    for row, source in enumerate(pairing.sources):
        if source >= 0:
            group[root(int(clusters[row]))] = root(int(clusters[source]))
    roots = np.array([root(int(cluster)) for cluster in clusters])
    targets = np.array([source >= 0 for source in pairing.sources])
    # each group where its first problem is: by the hash of that one's chain
    by_problem, first = split_folds(problems), np.unique(roots, return_index=True)
    fold_of = dict(zip(first[0].tolist(), by_problem[first[1]].tolist(), strict=True))
    folds = np.array([fold_of[one] for one in roots.tolist()])
    if min(int((targets & (folds == fold)).sum()) for fold in (0, 1)) < 1:
        raise ConfigError(
            f"The {pairing.n_pairs:,} pairs cannot be divided into two folds that share no calculation.",
            "Give more pairs, or --confirm none.",
        )
    ids = tuple(frozenset(p.id for p, where in zip(problems, folds, strict=True) if where == f) for f in (0, 1))
    return PairFolds(pairing, (ids[0], ids[1]))
