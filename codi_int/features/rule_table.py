"""The three rules of specialization side by side, over all alive features and in one common frequency band."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codi_int.errors import ConfigError
from codi_int.features.profiles import Profiles
from codi_int.features.specialization import specialization
from codi_int.features.specialization_records import RULES, Rule, RulePlan, Specialization, SpecializationRow
from codi_int.proportions import wilson_interval
from codi_int.records import flatten
from codi_int.shown import Shown

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

SCHEMA = "codi-int/features-specialize@1"
BAND = (0.01, 0.1)
"""firing rates of the common band, unless another one is named"""


@dataclass(frozen=True)
class RuleCell:
    """What one rule makes of some of the features."""

    rule: Rule
    """published, published-ties-counted or tested"""
    population: str
    """`alive`, or the band of firing rates"""
    n: int
    """features"""
    n_specialized: int
    """of them, what the rule calls specialized in anything"""
    share: float | None
    """n_specialized / n; None without any feature"""
    low: float | None
    """lower end of its 95% interval (Wilson, over features)"""
    high: float | None
    """upper end"""
    n_operation: int
    """operation-specialized"""
    n_value: int
    """value-specialized"""
    n_highly: int
    """both"""
    n_length: int
    """in the number of steps alone (tested rule)"""
    n_untested: int
    """features that fire on too few chains to be tested"""
    n_single: int
    """specialized features that fire on a single problem"""
    n_strong: int | None
    """specialized features with a confirmed property that is at least the margin above its base rate; None for the
    published rules"""
    n_also_tested: int
    """specialized features that the tested rule calls specialized too"""


@dataclass(frozen=True, repr=False)
class RuleComparison(Shown):
    """Three rules on the features of one SAE."""

    rules: tuple[Specialization, ...]
    """in the order published, published-ties-counted, tested"""
    band: tuple[float, float]
    """firing rates of the common band, both ends in it"""
    cells: tuple[RuleCell, ...]
    """each rule over all alive features, then each in the band"""

    schema = SCHEMA

    @property
    def tested(self) -> Specialization:
        """By the tested rule."""
        return self.rules[RULES.index("tested")]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; a row for each feature with all three rules."""
        known = flatten(self.tested)
        about = {name: value for name, value in known.items() if name not in ("rule", "rows")}
        return {
            "schema": self.schema,
            **about,
            "rules": list(RULES),
            "band": list(self.band),
            "cells": [flatten(cell) for cell in self.cells],
            "rows": self.rows(),
        }

    def to_frame(self) -> "pd.DataFrame":
        """The table of the three rules, as pandas' data frame; `rows` has the features."""
        import pandas as pd

        return pd.DataFrame([flatten(cell) for cell in self.cells])

    def plot(self) -> "matplotlib.figure.Figure":
        """The figure of it, as matplotlib's."""
        from codi_int.shown import figure_of

        return figure_of(self.to_dict())

    def rows(self) -> list[dict[str, Any]]:
        """One per alive feature: what each rule calls it, and the evidence of the tested one."""
        out = []
        for three in zip(*(rule.rows for rule in self.rules), strict=True):
            first, tested = three[0], three[-1]
            row: dict[str, Any] = {
                "rank": first.rank,
                "feature": first.feature,
                "firing_rate": first.firing_rate,
                "n_firing": first.n_firing,
            }
            for rule, one in zip(RULES, three, strict=True):
                name = rule.replace("-", "_")
                row |= {f"{name}_type": one.type, f"{name}_label": one.label, f"{name}_n": one.n_active}
            out.append(row | {"strong": tested.strong, "properties": [flatten(one) for one in tested.properties]})
        return out


def compare_rules(
    profiles: Profiles,
    confirming: Profiles | None = None,
    plan: RulePlan | None = None,
    band: tuple[float, float] = BAND,
) -> RuleComparison:
    """The three rules on the same features.

    Args:
        profiles: of the features, on problems with written steps.
        confirming: for the tested rule; see `specialization`.
        plan: its settings.
        band: firing rates from and to which features are compared a second time: SAEs that differ in how often their
            features fire are alike in it.

    Raises:
        ConfigError: a band that is none; otherwise as `specialization`.
    """
    check_band(band)
    rules = tuple(specialization(profiles, rule, confirming if rule == "tested" else None, plan) for rule in RULES)
    return side_by_side(rules, band)


def check_band(band: tuple[float, float]) -> None:
    """ConfigError for a band of firing rates that is none."""
    low, high = band
    if not 0.0 <= low < high <= 1.0:
        raise ConfigError(
            f"A band of firing rates goes from a lower to a higher share, got {low} to {high}.", "0.01-0.1"
        )


def side_by_side(rules: tuple[Specialization, ...], band: tuple[float, float]) -> RuleComparison:
    """What the three rules found at one site, counted over all alive features and in the band."""
    low, high = band
    tested = {row.feature for row in rules[-1].rows if row.specialized}
    name = f"{low:g} to {high:g}"
    cells = [_cell(rule, "alive", rule.rows, tested) for rule in rules]
    cells += [
        _cell(rule, name, tuple(row for row in rule.rows if low <= row.firing_rate <= high), tested) for rule in rules
    ]
    return RuleComparison(rules, band, tuple(cells))


def _cell(rule: Specialization, population: str, rows: tuple[SpecializationRow, ...], tested: set[int]) -> RuleCell:
    found = [row for row in rows if row.specialized]
    kinds = [row.type for row in rows]
    low, high = wilson_interval(len(found), len(rows)) if rows else (None, None)
    return RuleCell(
        rule=rule.rule,
        population=population,
        n=len(rows),
        n_specialized=len(found),
        share=len(found) / len(rows) if rows else None,
        low=None if low is None else float(low),
        high=None if high is None else float(high),
        n_operation=kinds.count("operation-specialized"),
        n_value=kinds.count("value-specialized"),
        n_highly=kinds.count("highly-specialized"),
        n_length=kinds.count("length-specialized"),
        n_untested=kinds.count("untested"),
        n_single=sum(row.n_firing == 1 for row in found),
        n_strong=sum(row.strong for row in found) if rule.rule == "tested" else None,
        n_also_tested=sum(row.feature in tested for row in found),
    )
