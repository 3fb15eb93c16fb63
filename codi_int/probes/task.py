"""Everything that the probes of all sites share: labels, control task, folds, bootstrap draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from codi_int.data.chains import chain_of, cluster_problems
from codi_int.errors import ConfigError
from codi_int.probes.fitting import METHODS, Method, Outputs, Split, make_splits, predict_out_of_fold
from codi_int.probes.ridge import Array
from codi_int.probes.scores import Scored, Scorer, control_score
from codi_int.probes.targets import Labels
from codi_int.types import Problem


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """How probes are fitted and what they are held against. ConfigError for settings that cannot work."""

    source: str = "residuals"
    """what is read: `residuals`, `thoughts` or `latents`"""
    method: str = "ridge"
    """`ridge` (closed form), or `logistic` for classes"""
    ks: tuple[int, ...] = ()
    """of latents: how many a sparse probe may use, one row each, besides all of them"""
    folds: int = 5
    """parts that are tested one after the other"""
    control_draws: int = 3
    """labellings of the control task"""
    confirm: str = "default"
    """on what the most selective probe is tested again: a data set, `none`, or by default `stories:confirmation`"""
    causal: int = 20
    """random subspaces beside the probe's own when its directions are removed; 0 removes nothing"""
    wrong: int = 400
    """for the target `correct` on stories: how many wrong answers fresh stories are drawn for"""
    seed: int = 0
    """of everything random"""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"method {self.method!r} does not exist.", f"It is one of {', '.join(METHODS)}.")
        for name, least in (("folds", 2), ("control_draws", 1), ("causal", 0), ("wrong", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; it takes whole numbers from {least}.", "")
        if self.ks and self.source != "latents":
            raise ConfigError("Sparse probes use few latents, so they need the source latents.", "Leave out k.")
        if any(k < 1 for k in self.ks):
            raise ConfigError(f"k is {min(self.ks)}; it takes whole numbers from 1.", "Give 1 or more.")


@dataclass(frozen=True)
class ProbeTask:
    """Everything that the probes of all sites share."""

    labels: Labels
    """the target, of the problems that have it"""
    outputs: Outputs
    """the same as a probe fits it"""
    controls: tuple[Outputs, ...]
    """labels of the control task, one for each draw"""
    clusters: NDArray[np.int64]
    """of these problems. [n]"""
    chains: frozenset[str]
    """their calculations"""
    settings: ProbeSettings
    """how"""
    splits: tuple[Split, ...]
    """outer folds; the control task has the same, or its scores could not be paired fold by fold"""
    scorer: Scorer
    """with the draws that all scores share"""

    def score(self, x: Array, k: int | None = None) -> tuple[Scored, float]:
        """The target's score out of fold, and the median penalty."""
        said, penalty = predict_out_of_fold(x, self.outputs, self.splits, cast("Method", self.settings.method), k)
        return self.scorer.score(self.outputs, said), penalty

    def score_controls(self, x: Array, k: int | None = None) -> Scored:
        """The mean score of the control task's draws."""
        found = []
        for outputs in self.controls:
            said, _ = predict_out_of_fold(x, outputs, self.splits, cast("Method", self.settings.method), k)
            found.append(self.scorer.score(outputs, said))
        return control_score(found, not self.outputs.n_classes)


def prepare_task(labels: Labels, problems: Sequence[Problem], settings: ProbeSettings) -> ProbeTask:
    """The task of some labels."""
    clusters = cluster_problems([problems[i] for i in labels.rows])
    outputs = Outputs(labels.values, len(labels.classes))
    controls = tuple(
        Outputs(given_labels(labels.control(draw, settings.seed), labels.types), len(labels.classes))
        for draw in range(settings.control_draws)
    )
    chains = {chain_of(problems[i]) for i in labels.rows}
    return ProbeTask(
        labels=labels,
        outputs=outputs,
        controls=controls,
        clusters=clusters,
        chains=frozenset(chain for chain in chains if chain is not None),
        settings=settings,
        splits=make_splits(outputs, clusters, settings.folds, settings.seed),
        scorer=Scorer(clusters, settings.seed),
    )


def given_labels(assigned: Mapping[Any, float], types: Sequence[Any]) -> Array:
    """The control task's label of each problem, by its type. [n]"""
    return np.array([assigned[one] for one in types], dtype=np.float64)
