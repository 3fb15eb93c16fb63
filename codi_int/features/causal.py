"""What removing each feature did, put beside its profile: from a kept screen of the same SAE."""

from dataclasses import replace
from pathlib import Path

from codi_int.errors import DataError, SAEError
from codi_int.features.profiles import CausalEffect, Profiles
from codi_int.interventions.kept import load_result
from codi_int.interventions.screens.screen import Screen
from codi_int.interventions.screens.screen_records import ScreenRow
from codi_int.types import Site


def read_screen(folder: str | Path) -> Screen:
    """A screen that was kept.

    Raises:
        DataError: nothing there, or something else.
    """
    found = load_result(folder)
    if not isinstance(found, Screen):
        raise DataError(
            f"{folder} holds a {type(found).__name__}, not a screen.", "Give a folder of codi-int screen --out."
        )
    return found


def attach_screen(profiles: Profiles, screen: Screen) -> Profiles:
    """The same profiles, each with what removing the feature did; a feature that was not screened has none.

    Raises:
        SAEError: a screen of another site or of an SAE with other weights.
    """
    site = profiles.site
    place = next((one for one in screen.sites if one.site == site), None)
    if site is None or place is None:
        raise SAEError(
            f"The screen is of {', '.join(str(one.site) for one in screen.sites)}, the profiles are of {site}.",
            "Give the screen of the same site.",
        )
    if place.sae_sha256 != profiles.sae.sha256:
        raise SAEError(
            f"The screen at {site} is of another SAE ({place.sae}), whose weights are not those of "
            f"{profiles.sae.name}: feature numbers mean other things there.",
            "Screen this SAE, or give the one that was screened.",
        )
    effects = {row.feature: _effect(row, screen.data) for row in _rows_at(screen, site)}
    rows = tuple(replace(row, causal=effects.get(row.feature)) for row in profiles.rows)
    return replace(profiles, rows=rows, by_feature={})


def _rows_at(screen: Screen, site: Site) -> list[ScreenRow]:
    return [row for row in screen.rows if row.site == site]


def _effect(row: ScreenRow, data: str) -> CausalEffect:
    found = row.confirmation
    # what selected it makes it look larger than it is: the estimate of a finding is the confirmation's
    estimate = row.effect.accuracy.value if found is None else found.accuracy.value
    return CausalEffect(
        accuracy=estimate,
        p_adjusted=row.effect.accuracy.p_adjusted,
        logprob=row.effect.logprob.value,
        conclusion=row.effect.conclusion,
        confirmed=None if found is None else found.confirmed,
        screen=data,
    )
