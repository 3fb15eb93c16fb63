"""The units of the tested rule: chains of calculations, each with its properties and the features that fire on it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codi_int.data.chains import chain_of, cluster_problems
from codi_int.features.profiles import Profiles
from codi_int.features.properties import TESTED_KINDS, PropertyTable, read_properties
from codi_int.features.specialization_records import Share
from codi_int.interventions.evidence.enrichment import Table


@dataclass(frozen=True, eq=False)
class Units:
    """One problem for every chain of calculations, its properties and which features fire on it."""

    firing: NDArray[np.bool_]
    """[units, features]"""
    table: PropertyTable
    """of the units"""
    strata: NDArray[np.int64]
    """number of steps. [units]"""
    chains: tuple[str | None, ...]
    """of each unit"""

    def part(self, chosen: NDArray[np.bool_]) -> "Units":
        """Some of the units."""
        table = PropertyTable(self.table.properties, self.table.present[chosen])
        chains = tuple(chain for chain, use in zip(self.chains, chosen.tolist(), strict=True) if use)
        return Units(self.firing[chosen], table, self.strata[chosen], chains)


def units_of(profiles: Profiles, features: Sequence[int]) -> Units:
    # the first problem stands for its chain: see `enrichment`
    with_steps = [i for i, problem in enumerate(profiles.problems) if problem.steps]
    problems = [profiles.problems[i] for i in with_steps]
    _, first = np.unique(cluster_problems(problems), return_index=True)
    chosen = [problems[i] for i in first.tolist()]
    rows = np.array(with_steps)[first]
    return Units(
        firing=profiles.firing(features)[rows],
        table=read_properties(chosen).of_kinds(TESTED_KINDS),
        strata=np.array([len(problem.steps) for problem in chosen]),
        chains=tuple(chain_of(problem) for problem in chosen),
    )


def count_table(firing: NDArray[np.bool_], present: NDArray[np.bool_], among: NDArray[np.bool_]) -> Table:
    a, b = firing[among], present[among]
    return Table(int(among.sum()), int(a.sum()), int(b.sum()), int((a & b).sum()))


def share_of(table: Table, p_value: float | None, p_adjusted: float | None) -> Share:
    low, high = table.interval()
    return Share(
        n=table.n,
        n_firing=table.firing,
        n_present=table.present,
        n_both=table.both,
        share=table.share,
        base_rate=table.base_rate,
        difference=table.difference,
        low=low,
        high=high,
        p_value=p_value,
        p_adjusted=p_adjusted,
    )
