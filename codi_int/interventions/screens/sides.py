"""On which problems something is selected, and on which other ones it is confirmed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from codi_int.catalog import CONFIRMATION
from codi_int.data.chains import chain_of, cluster_problems, split_folds
from codi_int.data.problems import Problems, as_problems, load_problems, name_of_problems
from codi_int.errors import ConfigError
from codi_int.interventions.evidence.clusters import Clusters, read_clusters
from codi_int.interventions.evidence.confirmation import overlap
from codi_int.interventions.evidence.equivalence import BOUND, check_bound
from codi_int.interventions.evidence.family import check_correction
from codi_int.types import Problem

DEFAULT, NONE, FOLDS = "default", "none", "folds"
_NAMED = 3
"""overlapping problems that an error names"""


@dataclass(frozen=True)
class SelectionPlan:
    """How a page that looks at many things decides which of them are findings."""

    correction: str = "discrete"
    """of the family: discrete, heyse, max-t, holm or bh"""
    confirm: str | Sequence[Problem] = DEFAULT
    """on what: `none`, `folds`, a data set, or problems; by default `stories:confirmation` for stories, else folds"""
    bound: float = BOUND
    """the smallest change of accuracy that matters"""

    def __post_init__(self) -> None:
        check_correction(self.correction)
        check_bound(self.bound)


@dataclass(frozen=True, eq=False)
class Sides:
    """Problems that select and problems that confirm."""

    problems: Sequence[Problem]
    """these select"""
    plan: SelectionPlan
    """what was asked for"""
    confirming: Problems | None = None
    """a set of its own that confirms; None for two folds, or for none"""
    folds: NDArray[np.int64] | None = None
    """fold of each selecting problem, where the two folds confirm each other. [n]"""
    notes: tuple[str, ...] = ()
    """why nothing is confirmed, where something should have been"""

    @cached_property
    def clusters(self) -> NDArray[np.int64]:
        """Label of each selecting problem's cluster. [n]"""
        return cluster_problems(self.problems)

    @cached_property
    def groups(self) -> Clusters:
        """The same, counted."""
        return read_clusters(self.clusters, len(self.problems))

    @cached_property
    def confirming_clusters(self) -> NDArray[np.int64]:
        """Label of each confirming problem's cluster. [n]"""
        return cluster_problems(self.confirming or ())

    @cached_property
    def fresh(self) -> NDArray[np.bool_]:
        """Confirming problems whose chain of calculations no selecting problem has. [n]"""
        known = {chain_of(problem) for problem in self.problems} - {None}
        return np.array([chain_of(problem) not in known for problem in self.confirming or ()], dtype=np.bool_)

    @property
    def confirmed_on(self) -> str | None:
        """Name of what confirms; None where nothing does."""
        if self.folds is not None:
            return FOLDS
        return None if self.confirming is None else self.confirming.name


def take_sides(problems: Sequence[Problem], plan: SelectionPlan | None = None) -> Sides:
    """Who selects and who confirms; loads the confirming set.

    Raises:
        ConfigError: for a confirming set that holds selecting problems, or problems that are all one cluster.
        DataError: for a confirming set that does not exist.
    """
    plan = plan or SelectionPlan()
    read_clusters(cluster_problems(problems), len(problems))
    if isinstance(plan.confirm, str):
        wanted = _default(problems) if plan.confirm == DEFAULT else plan.confirm
        if wanted == NONE:
            return Sides(problems, plan)
        if wanted == FOLDS:
            return _in_folds(problems, plan)
        # as many as select: `--limit` holds for both
        confirming = load_problems(wanted, limit=len(problems))
    else:
        given = as_problems(plan.confirm)
        confirming = Problems(given, name_of_problems(given))
    _check_apart(problems, confirming)
    if len(confirming) > 1 and np.unique(cluster_problems(confirming)).size == 1:
        raise ConfigError(
            f"All {len(confirming):,} problems of {confirming.name} that should confirm have one and the same chain.",
            "Give --confirm problems that ask for more than one calculation, --confirm folds, or --confirm none.",
        )
    return Sides(problems, plan, confirming=confirming)


def _default(problems: Sequence[Problem]) -> str:
    """What confirms these problems where nothing else was said."""
    name = name_of_problems(problems, None)
    # a slice is called stories:validation[0:100]
    split = re.fullmatch(r"(stories(?:-6)?):([a-z]+)(?:/(\d+))?(?:\[.*\])?", name)
    if split is None:
        return FOLDS
    own, draw = f"{split[1]}:{CONFIRMATION}", int(split[3] or 1)
    # who selects on the confirmation is confirmed by the next draw of it
    return f"{own}/{draw + 1}" if split[2] == CONFIRMATION else own


def _in_folds(problems: Sequence[Problem], plan: SelectionPlan) -> Sides:
    folds, clusters = split_folds(problems), cluster_problems(problems)
    if min(np.unique(clusters[folds == fold]).size for fold in (0, 1)) < 2:
        note = f"{len(problems):,} problems cannot be divided into two folds that confirm each other: nothing is."
        return Sides(problems, plan, notes=(note,))
    return Sides(problems, plan, folds=folds)


def _check_apart(problems: Sequence[Problem], confirming: Problems) -> None:
    texts = set(overlap([p.question for p in problems], [p.question for p in confirming]))
    if not texts:
        return
    both = [problem.id for problem in confirming if problem.question in texts]
    named = ", ".join(map(repr, both[:_NAMED])) + (" and others" if len(both) > _NAMED else "")
    raise ConfigError(
        f"{len(both):,} of the {len(confirming):,} problems of {confirming.name} that should confirm have selected: "
        f"{named}.",
        "Give --confirm other problems, --confirm folds, or --confirm none.",
    )
