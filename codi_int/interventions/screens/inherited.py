"""A screen from which features were picked: whether its tests are one family with those that are made now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codi_int.errors import ConfigError
from codi_int.interventions.screens.screen_records import Screen, ScreenRow
from codi_int.types import Site

_DIGITS = 12
"""of a hash that an error names"""


@dataclass(frozen=True)
class Settings:
    """What two screens must have in common for their tests to be one family."""

    kind: str
    """what is done to each feature"""
    model_sha256: str
    """of the weights"""
    data_sha256: str
    """of the problems"""
    saes: Mapping[Site, str]
    """hash of the SAE of each site that is screened"""
    bound: float
    """the smallest change of accuracy that matters"""
    in_folds: bool
    """whether two folds confirm each other"""
    later: str = "free"
    """what later positions do in the baseline"""


def check_family(family: Screen, now: Settings, name: str = "family") -> None:
    """Refuse a screen whose p-values, equivalence tests or folds are not those of this one's family.

    Args:
        family: the screen from which features were picked.
        now: what is run now.
        name: what to call it in an error.

    Raises:
        ConfigError: for another edit, model, data, SAE or bound, a screen that was kept before screens had a bound, or
            one that was not measured in the folds that confirm here.
    """
    _check_same(name, "edit", family.kind, now.kind)
    _check_same(name, "--later", family.later, now.later)
    environment = family.environment
    _check_same(name, "model", environment.model_sha256[:_DIGITS], now.model_sha256[:_DIGITS])
    _check_same(name, "data", environment.data_sha256[:_DIGITS], now.data_sha256[:_DIGITS])
    known = {one.site: one.sae_sha256 for one in family.sites}
    for site, sae in now.saes.items():
        if site not in known:
            there = ", ".join(map(str, known)) or "none"
            raise ConfigError(
                f"{name} is a screen of other sites than {site}: {there}.",
                "Give the screen from which the features were picked.",
            )
        _check_same(name, f"SAE at {site}", known[site][:_DIGITS], sae[:_DIGITS])
    if family.selection is None:
        raise ConfigError(
            f"{name} was kept before screens declared a bound: its equivalence tests cannot be told.",
            "Run that screen again.",
        )
    if family.selection.bound != now.bound:
        raise ConfigError(
            f"{name} is a screen with another bound than this one: {family.selection.bound:g}, not {now.bound:g}.",
            f"Give --bound {family.selection.bound:g}, as that screen had it, or run that screen again.",
        )
    if now.in_folds and not all(row.folds for row in family.rows):
        raise ConfigError(
            f"Two folds confirm each other here, and {name} is a screen that was not measured in folds.",
            "Give --confirm as that screen had it, or run that screen with --confirm folds.",
        )


def _check_same(name: str, what: str, there: str, here: str) -> None:
    if there != here:
        raise ConfigError(
            f"{name} is a screen with another {what} than this one: {there}, not {here}.",
            "Give the screen from which the features were picked, run with the same settings.",
        )


def family_notes(rows: Sequence[ScreenRow], family: Screen) -> tuple[str, ...]:
    """What is to be said where features that both screens have changed other answers there.

    A record does not know by which splice or path its screen was run; that other problems flip can be seen.
    """
    there = {(row.site, row.feature): row.flips for row in family.rows}
    shared = [row for row in rows if (row.site, row.feature) in there]
    differing = [row for row in shared if row.flips != there[row.site, row.feature]]
    if not differing:
        return ()
    return (
        f"{len(differing):,} of the {len(shared):,} features that the family's screen has as well changed other "
        f"answers there, feature {differing[0].feature} among them: was it run by another splice or path?",
    )
