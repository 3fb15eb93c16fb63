"""The three rules of specialization at several sites, the tested one as a single family over all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codi_int.errors import ConfigError
from codi_int.features.profiles import Profiles
from codi_int.features.rule_table import BAND, RuleCell, RuleComparison, check_band, side_by_side
from codi_int.features.specialization import specialization, specialization_of_sites
from codi_int.features.specialization_records import RULES, RulePlan, Specialization
from codi_int.records import flatten
from codi_int.shown import Shown
from codi_int.types import Site

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

SCHEMA = "codi-int/features-specialize-sites@1"
_OF_SITE = ("site", "sae", "n_tested", "n_properties", "n_selected", "n_confirmed")
_NOT_SHARED = (*_OF_SITE, "rule", "rows")


@dataclass(frozen=True, repr=False)
class RulesBySite(Shown):
    """Three rules on the features of several SAEs of one model, on the same problems."""

    sites: tuple[RuleComparison, ...]
    """one for each site; the tested rule corrects and confirms over all of them"""
    schema = SCHEMA

    @property
    def band(self) -> tuple[float, float]:
        """Firing rates of the common band."""
        return self.sites[0].band

    @property
    def first(self) -> Specialization:
        """The tested rule at the first site, which knows what all sites share: model, data, plan, problems."""
        return self.sites[0].tested

    def total(self, name: str) -> int:
        """A count of the tested rule added up over the sites: n_tested, n_selected or n_confirmed."""
        return sum(getattr(one.tested, name) or 0 for one in self.sites)

    def cell(self, rule: str, band: bool = False) -> list[tuple[Site | None, RuleCell]]:
        """What one rule makes of every site's alive features, or of those in the band."""
        place = RULES.index(next(one for one in RULES if one == rule)) + len(RULES) * band
        return [(one.tested.site, one.cells[place]) for one in self.sites]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types. Of a feature's properties only the one that it is called by; `compare_rules` has all."""
        shared = {name: value for name, value in flatten(self.first).items() if name not in _NOT_SHARED}
        counts = {name: self.total(name) for name in ("n_tested", "n_selected", "n_confirmed")}
        return {
            "schema": self.schema,
            **shared,
            **counts,
            "rules": list(RULES),
            "band": list(self.band),
            "sites": [_site(one) for one in self.sites],
            "rows": self.rows(),
        }

    def rows(self) -> list[dict[str, Any]]:
        """One per alive feature of every site."""
        return [{"site": str(one.tested.site), **table_row(row)} for one in self.sites for row in one.rows()]

    def to_frame(self) -> "pd.DataFrame":
        """One row per site, rule and population, as pandas' data frame; `rows` has the features."""
        import pandas as pd

        return pd.DataFrame(self.cells())

    def cells(self) -> list[dict[str, Any]]:
        """One per site, rule and population."""
        return [{"site": str(one.tested.site), **flatten(cell)} for one in self.sites for cell in one.cells]

    def plot(self) -> "matplotlib.figure.Figure":
        """The figure of it, as matplotlib's."""
        from codi_int.shown import figure_of

        return figure_of(self.to_dict())


def _site(one: RuleComparison) -> dict[str, Any]:
    known = flatten(one.tested)
    return {**{name: known[name] for name in _OF_SITE}, "cells": [flatten(cell) for cell in one.cells]}


def table_row(row: dict[str, Any]) -> dict[str, Any]:
    """A feature's row for a table: of its properties the one that it is called by, with its numbers."""
    plain = {name: value for name, value in row.items() if name != "properties"}
    first = next((one for one in row["properties"] if one["confirmed"]), None)
    names = ("n_firing", "n_both", "share", "base_rate", "difference", "low", "high", "p_value", "p_adjusted")
    plain["n_confirmed"] = sum(one["confirmed"] for one in row["properties"])
    plain["property"] = None if first is None else first["name"]
    again = {} if first is None else first["confirmation"]
    return plain | {f"confirmation_{name}": again.get(name) for name in names}


def compare_sites(
    sides: Sequence[tuple[Profiles, Profiles | None]],
    plan: RulePlan | None = None,
    band: tuple[float, float] = BAND,
    done: Callable[[int, int], None] | None = None,
) -> RulesBySite:
    """Three rules at several sites; the tested one is one family over all of them.

    Args:
        sides: of each site the profiles that select and those that confirm (None: two folds confirm each other).
        plan: settings of the tested rule.
        band: firing rates of the common band.
        done: called with how many sites are worked out and how many there are.

    Raises:
        ConfigError: a band that is none, no site, a site twice, or sites on different problems.
        DataError, SAEError: as `specialization`.
    """
    check_band(band)
    names = [str(profiles.site) for profiles, _ in sides]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{twice[0]} stands twice among the sites of one family.", "Name each site once.")
    tested = specialization_of_sites(sides, plan)
    found = []
    for number, ((profiles, _), by_test) in enumerate(zip(sides, tested, strict=True), 1):
        published = [specialization(profiles, rule) for rule in RULES[:-1]]
        found.append(side_by_side((*published, by_test), band))
        if done is not None:
            done(number, len(sides))
    return RulesBySite(tuple(found))
