"""A dictionary with its screen and what each feature changed problem by problem: what comparisons are made from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codi_int.interventions.edits.basic import Ablate
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.evidence.concordance import ProblemDraws
from codi_int.interventions.screens.change_store import KeptChanges
from codi_int.interventions.screens.dictionaries import DictionaryNote
from codi_int.interventions.screens.screen import Checkpoint, run_again, run_screen
from codi_int.interventions.screens.screen_records import Screen, ScreenRow
from codi_int.interventions.screens.screen_store import ScreenFolder
from codi_int.interventions.screens.sides import SelectionPlan, Sides
from codi_int.progress import Progress, rename_stage
from codi_int.sae.base import SAE
from codi_int.types import Site

OWN = "own"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Dictionary:
    """An SAE in its engine, and what it is called."""

    name: str
    """what pages call it"""
    kind: str
    """`own`, `seed`, `frozen`, `random` or `given`"""
    engine: FeatureInterventionEngine
    """with the SAE at one site; engines that are compared share their clean passes"""
    folder: ScreenFolder | None = None
    """where finished rows are kept"""
    changes: KeptChanges = field(default_factory=KeptChanges)
    """where the changes of each problem are kept"""

    @property
    def site(self) -> Site:
        """Where."""
        return next(iter(self.engine.saes))

    @property
    def sae(self) -> SAE:
        """The dictionary itself."""
        return self.engine.saes[self.site]


@dataclass(frozen=True, eq=False)
class Look:
    """A dictionary on the problems that select, before anything is edited."""

    dictionary: Dictionary
    """which"""
    fires: NDArray[np.bool_]
    """whether each feature fires on each problem. [n, d_sae]"""
    note: DictionaryNote
    """what tables say of it"""

    @property
    def alive(self) -> NDArray[np.int64]:
        """Features that fire on some problem."""
        return np.flatnonzero(self.fires.any(axis=0))


@dataclass(frozen=True, eq=False)
class Screened:
    """A dictionary and its finished screen."""

    dictionary: Dictionary
    """which"""
    screen: Screen
    """rows of the features that were screened"""
    changes: KeptChanges
    """of the clean answer's probability"""

    @cached_property
    def rows(self) -> dict[int, ScreenRow]:
        """Rows of the features that fire."""
        return {row.feature: row for row in self.screen.rows if row.n_touched}

    def accuracy(self, features: Sequence[int], n: int) -> Floats:
        """Changes of accuracy on the problems that select. [n, features]"""
        columns = [self.rows[feature].flips.changes(n) for feature in features]
        return np.stack(columns, axis=1) if columns else np.zeros((n, 0))

    def probability(self, features: Sequence[int], n: int) -> Floats:
        """Changes of the clean answer's probability on the same. [n, features]"""
        return self.changes.matrix(features, n)


@torch.no_grad()
def look_at(one: Dictionary, sides: Sides, draws: ProblemDraws, progress: Progress | None = None) -> Look:
    """What fires where, and how well the dictionary rebuilds its site; the clean pass of the selecting problems."""
    context = one.engine.site_context(sides.problems, one.site, progress)
    x = context.activations.double()
    error = context.sae(context.activations).double() - x
    # [n, 2]: how far error and activation lie from their means; their sums over problems are the two variances
    spreads = torch.stack([(v - v.mean(dim=0)).square().sum(dim=1) for v in (error, x)], dim=1)
    fires = (context.latents != 0).cpu().numpy()
    known = one.sae.config.provenance
    return Look(
        one,
        fires,
        DictionaryNote(
            name=one.name,
            kind=one.kind,
            seed=known.seed,
            sae=one.sae.name,
            sae_sha256=one.sae.sha256,
            n_features=one.sae.d_sae,
            n_living=int(fires.any(axis=0).sum()),
            explained_variance=draws.bootstrap(spreads.cpu().numpy(), lambda m: 1 - m[..., 0] / m[..., 1]),
        ),
    )


def screen_dictionary(
    one: Dictionary,
    sides: Sides,
    features: Sequence[int] | None,
    plan: SelectionPlan,
    seed: int = 0,
    progress: Progress | None = None,
    **names: Any,
) -> Screened:
    """Screen a dictionary and keep what every feature changed, problem by problem.

    Args:
        one: which.
        sides: who selects.
        features: which; None for all.
        plan: how its own findings are corrected and confirmed.
        seed: of the bootstrap and of matched features.
        progress: called with (stage, done, total).
        names: as `run_screen` takes them.
    """
    kept = () if one.folder is None else one.folder.finished().rows
    # a row without its changes, of an earlier screen of this folder, is run again
    rows = [row for row in kept if row.feature in one.changes.features]

    def keep(finished: Sequence[ScreenRow], pairs: object) -> None:
        # the changes first: a row that is kept has them
        one.changes.save()
        if one.folder is not None:
            one.folder.keep(finished)

    screen = run_screen(
        one.engine,
        sides.problems,
        None if features is None else list(features),
        seed=seed,
        site=one.site,
        checkpoint=Checkpoint(rows=rows, keep=keep, watch=one.changes.add),
        progress=progress if one.kind == OWN else rename_stage(progress, f"screen {one.name}"),
        selection=plan,
        **names,
    )
    return Screened(one, screen, one.changes)


def accuracy_elsewhere(
    one: Screened, features: Sequence[int], sides: Sides, fold: int | None, progress: Progress | None = None
) -> Floats:
    """Changes of accuracy by some features on problems that selected nothing: a set of its own, or a fold.

    Args:
        one: whose features.
        features: which.
        sides: who confirms.
        fold: which fold is asked for; None where a set of its own confirms, or nothing does: then they are those of the
            problems that select.
        progress: called with (stage, done, total).

    Returns:
        [problems, features]
    """
    if sides.confirming is not None and features:
        dictionary = one.dictionary
        keys = [(dictionary.site, feature) for feature in features]
        ran = run_again(dictionary.engine, keys, sides, Ablate, progress)
        return np.stack([ran.changes[key].accuracy for key in keys], axis=1)
    whole = one.accuracy(features, len(sides.problems))
    if fold is None or sides.folds is None:
        return whole
    inside: Floats = whole[sides.folds == fold]
    return inside
