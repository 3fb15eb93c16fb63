"""A screened dictionary beside those in which nothing can be found: frozen, random, or any other one.

How many features change answers depends on what a dictionary removes, not only on what it found: a dictionary of random
directions changes answers too. So the whole distributions stand side by side, and the strongest features of each are
compared rank by rank on problems that did not rank them.
"""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codi_int.data.chains import split_folds
from codi_int.data.problems import name_of_problems
from codi_int.interventions.engine.environment import describe_environment
from codi_int.interventions.evidence.betting import estimate_bounded
from codi_int.interventions.evidence.concordance import ProblemDraws
from codi_int.interventions.screens.dictionaries import AgainstRow, DictionaryComparison, StrongestRow
from codi_int.interventions.screens.screened import Look, Screened, accuracy_elsewhere
from codi_int.interventions.screens.sides import Sides
from codi_int.progress import Progress
from codi_int.records import Estimate

STRONGEST = (1, 3, 10)
"""ranks down to which the strongest features are compared"""
UPPER = 0.9
"""the quantile beside the median"""
Floats = NDArray[np.float64]


def compare_dictionaries(
    dictionaries: Sequence[tuple[Look, Screened]],
    sides: Sides,
    draws: ProblemDraws,
    seed: int = 0,
    progress: Progress | None = None,
) -> DictionaryComparison:
    """Put the effects of whole dictionaries side by side.

    Args:
        dictionaries: the own one first; all features of each were screened on the problems that select.
        sides: who selects and who confirms. The strongest are ranked by those that select and measured on those that
            confirm; without a set of its own for that, ranked on one fold and measured on the other.
        draws: of the selecting problems, for the intervals.
        seed: noted in the record.
        progress: called with (stage, done, total).
    """
    started = time.perf_counter()
    first = dictionaries[0][1]
    strongest, names = _strongest([one for _, one in dictionaries], sides, progress)
    engine = first.dictionary.engine
    rows = tuple(_row(look, one, draws) for look, one in dictionaries)
    saes = [look.dictionary.sae for look, _ in dictionaries]
    return DictionaryComparison(
        site=first.dictionary.site,
        model=engine.model.name,
        data=name_of_problems(sides.problems),
        n_problems=len(sides.problems),
        seed=seed,
        rows=rows,
        strongest=strongest,
        ranked_on=names[0],
        measured_on=names[1],
        environment=describe_environment(engine.model, saes, sides.problems, time.perf_counter() - started),
    )


def _row(look: Look, one: Screened, draws: ProblemDraws) -> AgainstRow:
    features, n = sorted(one.rows), draws.groups.codes.size
    changes, note, selection = one.probability(features, n), look.note, one.screen.selection
    assert selection is not None
    none = Estimate(0.0, 0.0, 0.0)
    sizes = [row.edit_size for row in one.rows.values()]
    return AgainstRow(
        name=note.name,
        kind=note.kind,
        sae=note.sae,
        sae_sha256=note.sae_sha256,
        explained_variance=note.explained_variance,
        n_features=note.n_features,
        n_living=note.n_living,
        n_tested=selection.n_tested,
        n_selected=selection.n_selected,
        n_confirmed=selection.n_confirmed,
        n_confirmed_logprob=selection.n_confirmed_logprob,
        edit_size=float(np.median(sizes)) if sizes else 0.0,
        median=draws.bootstrap(changes, lambda m: np.quantile(np.abs(m), 0.5, axis=-1)) if features else none,
        upper=draws.bootstrap(changes, lambda m: np.quantile(np.abs(m), UPPER, axis=-1)) if features else none,
        largest=float(np.abs(changes.mean(axis=0)).max(initial=0.0)),
    )


def _strongest(
    screens: Sequence[Screened], sides: Sides, progress: Progress | None
) -> tuple[tuple[StrongestRow, ...], tuple[str, str]]:
    """The strongest of the own dictionary against those of each other; and where ranked, and where measured."""
    name = name_of_problems(sides.problems)
    folds = split_folds(sides.problems)
    apart = sides.confirming is None
    # nothing that ranks a feature measures it: the strongest of many look stronger than they are
    ranking = folds == 0 if apart else np.ones(folds.size, dtype=np.bool_)
    if apart and min(np.unique(sides.clusters[folds == fold]).size for fold in (0, 1)) < 2:
        return (), (name, "nowhere: too few problems for two halves")
    if sides.confirming is None:
        clusters, names = sides.clusters[folds == 1], (f"one half of {name}", "the other half")
    else:
        clusters, names = sides.confirming_clusters, (name, sides.confirming.name)
    top = [_ranked(one, ranking)[: STRONGEST[-1]] for one in screens]
    measured = []
    for one, features in zip(screens, top, strict=True):
        changes = accuracy_elsewhere(one, features, sides, None, progress)
        measured.append(changes[folds == 1] if apart else changes)
    own, *others = measured
    rows = []
    for one, changes in zip(screens[1:], others, strict=True):
        for n in STRONGEST:
            if n > min(own.shape[1], changes.shape[1]):
                continue
            # [problems]: what the mean one of the first n does to each problem
            mine, its = own[:, :n].mean(axis=1), changes[:, :n].mean(axis=1)
            rows.append(
                StrongestRow(
                    dictionary=one.dictionary.name,
                    n_strongest=n,
                    own=estimate_bounded(mine, 1.0, clusters=clusters),
                    other=estimate_bounded(its, 1.0, clusters=clusters),
                    difference=estimate_bounded(mine - its, 2.0, clusters=clusters),
                    n=mine.size,
                )
            )
    return tuple(rows), names


def _ranked(one: Screened, inside: NDArray[np.bool_]) -> list[int]:
    """Features that fire, those first whose ablation costs most accuracy on some problems; ties by probability."""
    features, n = sorted(one.rows), inside.size
    accuracy = one.accuracy(features, n)[inside].mean(axis=0)
    probability = one.probability(features, n)[inside].mean(axis=0)
    return [features[i] for i in np.lexsort((probability, accuracy))]
