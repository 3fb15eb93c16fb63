"""Is an effect the model's or the dictionary's? Features of other seeds, matched, with their effects side by side.

What varies in every interval is which problems were drawn: the dictionaries, the pairs and the population are given.
So an agreement speaks of these dictionaries on other problems, not of all seeds that could have been.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codi_int.data.problems import name_of_problems
from codi_int.interventions.engine.environment import describe_environment
from codi_int.interventions.evidence.betting import estimate_bounded
from codi_int.interventions.evidence.concordance import Drawn, ProblemDraws, rank_correlation
from codi_int.interventions.evidence.families import adjust
from codi_int.interventions.evidence.family import ALPHA
from codi_int.interventions.evidence.flips import count_changes, estimate_accuracy
from codi_int.interventions.screens.dictionaries import AgreementRow, FoundRow, SeedComparison, SeedRow
from codi_int.interventions.screens.matching import Pairing, match_by_rate, match_dictionaries
from codi_int.interventions.screens.screened import Look, Screened, accuracy_elsewhere
from codi_int.interventions.screens.sides import Sides
from codi_int.progress import Progress
from codi_int.records import Estimate

FEWEST_PAIRS = 5
"""pairs below which no coefficient is given"""
Floats = NDArray[np.float64]


def match_looks(own: Look, others: Sequence[Look]) -> dict[str, Pairing]:
    """The partners of the own dictionary's features in every other one, by name."""
    mine = own.dictionary.sae
    return {
        other.dictionary.name: match_dictionaries(mine, other.dictionary.sae, own.fires, other.fires)
        for other in others
    }


def partners_of(features: Sequence[int], pairing: Pairing) -> list[int]:
    """The partners of some features, where they have one."""
    return [int(pairing.partners[feature]) for feature in features if pairing.partners[feature] >= 0]


def compare_seeds(
    own: tuple[Look, Screened],
    others: Sequence[tuple[Look, Screened]],
    sides: Sides,
    draws: ProblemDraws,
    seed: int = 0,
    progress: Progress | None = None,
) -> SeedComparison:
    """Put every feature's effect beside its partners', and what was found on problems that selected nothing.

    Args:
        own: the dictionary that was screened, with its findings.
        others: those of other seeds, whose partners of the own features were screened on the same problems.
        sides: who selects and who confirms.
        draws: of the selecting problems, for the intervals.
        seed: of matchings by chance.
        progress: called with (stage, done, total).
    """
    started = time.perf_counter()
    look, screened = own
    pairings = match_looks(look, [other for other, _ in others])
    rows: list[SeedRow] = []
    agreements: list[AgreementRow] = []
    # all features or chosen ones: partners by firing rate alone need the other dictionary's effects whole
    whole = set(look.alive.tolist()) <= set(screened.rows)
    for other, there in others:
        pairing = pairings[other.dictionary.name]
        pairs = _pairs(screened, there, pairing)
        rows += _rows(pairs, pairing, (look, other), (screened, there))
        rates = (look.fires.sum(axis=0), other.fires.sum(axis=0)) if whole else None
        agreements += _agreements(_Pairs(screened, there, pairs, draws), pairing, rates, seed)
    found = _found(screened, [there for _, there in others], pairings, sides, progress)
    engine = screened.dictionary.engine
    saes = [one.dictionary.sae for one, _ in (own, *others)]
    spent = time.perf_counter() - started
    return SeedComparison(
        site=screened.dictionary.site,
        model=engine.model.name,
        data=name_of_problems(sides.problems),
        n_problems=len(sides.problems),
        seed=seed,
        own=look.note,
        others=tuple(other.note for other, _ in others),
        rows=tuple(rows),
        agreements=tuple(agreements),
        found=tuple(found),
        found_on=_found_on(sides),
        environment=describe_environment(engine.model, saes, sides.problems, spent),
    )


def _found_on(sides: Sides) -> str:
    if sides.folds is not None:
        return "the fold that did not select it"
    where = sides.confirmed_on
    return f"{name_of_problems(sides.problems)}, which selected it" if where is None else where


def _pairs(own: Screened, there: Screened, pairing: Pairing) -> list[tuple[int, int]]:
    """Features that were screened and fire, with partners that were screened and fire."""
    both = ((feature, int(pairing.partners[feature])) for feature in sorted(own.rows))
    return [(feature, partner) for feature, partner in both if partner in there.rows]


def _rows(
    pairs: Sequence[tuple[int, int]], pairing: Pairing, looks: tuple[Look, Look], screens: tuple[Screened, Screened]
) -> list[SeedRow]:
    (own, there), shared = screens, pairing.shared
    out = []
    for feature, partner in pairs:
        mine, its = own.rows[feature], there.rows[partner]
        out.append(
            SeedRow(
                feature=feature,
                dictionary=looks[1].dictionary.name,
                partner=partner,
                cosine=float(pairing.cosine[feature]),
                overlap=float(pairing.overlap[feature]),
                matched=bool(shared[feature]),
                n_touched=mine.n_touched,
                n_touched_partner=its.n_touched,
                accuracy=mine.estimate,
                accuracy_partner=its.estimate,
                probability=mine.probability or 0.0,
                probability_partner=its.probability or 0.0,
            )
        )
    return out


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Features and partners whose effects are compared."""

    own: Screened
    """whose features"""
    there: Screened
    """whose partners"""
    pairs: Sequence[tuple[int, int]]
    """a feature and its partner each"""
    draws: ProblemDraws
    """of the problems"""

    def changes(self, one: Screened, features: Sequence[int], measure: str) -> Floats:
        """What each feature changed on each problem. [n, features]"""
        n = self.draws.groups.codes.size
        return one.probability(features, n) if measure == "probability" else one.accuracy(features, n)

    def concordance(self, mine: Sequence[int], its: Sequence[int], measure: str) -> Drawn:
        """Of the effects of some features with those of others, in this order."""
        return self.draws.concordance(self.changes(self.own, mine, measure), self.changes(self.there, its, measure))

    @property
    def sides(self) -> tuple[list[int], list[int]]:
        """The features, and their partners."""
        mine, its = ([pair[i] for pair in self.pairs] for i in (0, 1))
        return mine, its

    def rank_correlation(self, measure: str) -> Estimate:
        """Spearman's, of the two lists of effects."""
        size, (mine, its) = len(self.pairs), self.sides
        changes = [self.changes(self.own, mine, measure), self.changes(self.there, its, measure)]
        return self.draws.bootstrap(
            np.concatenate(changes, axis=1), lambda m: rank_correlation(m[..., :size], m[..., size:])
        )


def _agreements(
    pairs: _Pairs, pairing: Pairing, rates: tuple[NDArray[np.int64], NDArray[np.int64]] | None, seed: int
) -> list[AgreementRow]:
    """How the effects of all pairs agree, and those of pairs that count as the same feature."""
    shared = replace(pairs, pairs=[pair for pair in pairs.pairs if pairing.shared[pair[0]]])
    out = []
    for measure in ("probability", "accuracy"):
        for name, some in (("all", pairs), ("matched", shared)):
            if len(some.pairs) < FEWEST_PAIRS:
                continue
            found = some.concordance(*some.sides, measure)
            chance = None if rates is None or name != "all" else _by_chance(some, measure, rates, seed)
            beyond = None if chance is None else Drawn(found.value - chance.value, found.drawn - chance.drawn)
            method = pairs.draws.method
            out.append(
                AgreementRow(
                    dictionary=pairs.there.dictionary.name,
                    pairs=name,
                    measure=measure,
                    n=len(some.pairs),
                    concordance=found.estimate(method),
                    rank_correlation=some.rank_correlation(measure),
                    chance=None if chance is None else chance.estimate(method),
                    beyond_chance=None if beyond is None else beyond.estimate(method),
                )
            )
    return out


def _by_chance(pairs: _Pairs, measure: str, rates: tuple[NDArray[np.int64], NDArray[np.int64]], seed: int) -> Drawn:
    """The same coefficient for partners that fire as often: the mean over some such matchings."""
    features, candidates = pairs.sides[0], np.array(sorted(pairs.there.rows))
    places = match_by_rate(rates[0][features], rates[1][candidates], seed)
    found = []
    for draw in places:
        # the smaller side decides how many have a partner; those without one are out of this draw
        some = np.flatnonzero(draw >= 0)
        mine = [features[i] for i in some]
        found.append(pairs.concordance(mine, candidates[draw[some]].tolist(), measure))
    return Drawn(float(np.mean([one.value for one in found])), np.mean([one.drawn for one in found], axis=0))


def _found(
    own: Screened,
    others: Sequence[Screened],
    pairings: Mapping[str, Pairing],
    sides: Sides,
    progress: Progress | None,
) -> list[FoundRow]:
    """The features that accuracy selected, and their partners, on problems that selected nothing."""
    selected = [row for row in own.screen.ranked() if row.selected]
    # where two folds confirm each other, each feature is looked at on the one that did not select it
    by_fold: dict[int | None, list[int]] = {}
    for row in selected:
        fold = None if row.confirmation is None or row.confirmation.fold is None else 1 - row.confirmation.fold
        by_fold.setdefault(fold, []).append(row.feature)
    out: list[FoundRow] = []
    for fold, features in by_fold.items():
        clusters = _clusters(sides, fold)
        mine = accuracy_elsewhere(own, features, sides, fold, progress)
        for other in others:
            pairing = pairings[other.dictionary.name]
            there = [feature for feature in features if int(pairing.partners[feature]) in other.rows]
            its = accuracy_elsewhere(other, partners_of(there, pairing), sides, fold, progress)
            for i, feature in enumerate(features):
                column = its[:, there.index(feature)] if feature in there else None
                out.append(_found_row(feature, other.dictionary.name, pairing, (mine[:, i], column), clusters))
    return _corrected(out)


def _clusters(sides: Sides, fold: int | None) -> NDArray[np.int64]:
    if sides.confirming is not None:
        return sides.confirming_clusters
    return sides.clusters if fold is None or sides.folds is None else sides.clusters[sides.folds == fold]


def _found_row(
    feature: int,
    name: str,
    pairing: Pairing,
    changes: tuple[Floats, Floats | None],
    clusters: NDArray[np.int64],
) -> FoundRow:
    mine, its = changes
    counts = None if its is None else count_changes(its)
    return FoundRow(
        feature=feature,
        dictionary=name,
        partner=None if its is None else int(pairing.partners[feature]),
        cosine=float(pairing.cosine[feature]),
        overlap=float(pairing.overlap[feature]),
        matched=bool(pairing.shared[feature]),
        own=estimate_accuracy(mine, clusters),
        other=None if its is None else estimate_accuracy(its, clusters),
        difference=None if its is None else estimate_bounded(mine - its, 2.0, clusters=clusters),
        there=False,
        n=mine.size,
        n_broken=0 if counts is None else counts.broken,
        n_fixed=0 if counts is None else counts.fixed,
    )


def _corrected(rows: Sequence[FoundRow]) -> list[FoundRow]:
    """Whether each partner has the effect, corrected over all that were asked (Holm)."""
    adjusted = adjust([None if row.other is None else row.other.p_value for row in rows], "holm")
    out = []
    for row, p in zip(rows, adjusted, strict=True):
        if row.other is None:
            out.append(row)
            continue
        there = p is not None and p < ALPHA and row.other.value * row.own.value > 0
        out.append(replace(row, other=replace(row.other, p_adjusted=p), there=there))
    return sorted(out, key=lambda row: (row.feature, row.dictionary))
