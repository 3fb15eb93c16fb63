"""What the commands of `codi-int features` share: their options, the site that they mean, and the profiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

from codi_int.catalog import is_sae, site_noted
from codi_int.cli import _complete
from codi_int.cli import _options as o
from codi_int.cli._console import Report
from codi_int.errors import ConfigError, SAEError
from codi_int.run_folder import RunFolder

if TYPE_CHECKING:
    from codi_int.features.profiles import Profiles
    from codi_int.sae.base import SAE
    from codi_int.types import Problem, Site

LAYER, POSITION = 14, 3
"""where no SAE says anything else: the site of the shipped one"""

ScreenFolder = Annotated[
    str | None,
    o.where(
        "--screen",
        metavar="FOLDER",
        help="A kept screen of this SAE: what removing each feature did stands beside it.",
    ),
]


OwnLayers = Annotated[
    tuple[int, ...],
    o.where(
        "--layer",
        metavar="N",
        help="Blocks: 14, 10-14 or 3,9,14.  [default: the SAE's own]",
        autocompletion=_complete.layers,
    ),
    partial(o.whole_numbers, option="--layer"),
]
OwnPositions = Annotated[
    tuple[int, ...],
    o.where(
        "--position",
        metavar="N",
        help="0 is the bot token, 1 to 6 are the thoughts: 3, 1-6 or 1,3.  [default: the SAE's own]",
        autocompletion=_complete.positions,
    ),
    partial(o.whole_numbers, option="--position"),
]


@dataclass(frozen=True, kw_only=True)
class FeatureOptions(o.KeptOptions):
    """An SAE and problems for it."""

    reinitialize: o.Reinitialize = None
    layer: o.OwnLayer = None
    position: o.OwnPosition = None
    sae: o.Sae = None


@dataclass(frozen=True, kw_only=True)
class SitesOptions(o.KeptOptions):
    """SAEs of several sites, and problems for them."""

    reinitialize: o.Reinitialize = None
    layers: OwnLayers = ()
    positions: OwnPositions = ()
    sae: o.Sae = None


AnyOptions = FeatureOptions | SitesOptions


def sites_meant(options: AnyOptions) -> "tuple[Site, ...]":
    """The sites asked for, every combination; where none are, that of the SAE, else the shipped one's."""
    from codi_int.types import Site

    layers, positions = _asked(options)
    single = options.sae is not None and is_sae(options.sae)
    noted = site_noted(options.sae) if single and options.sae else None
    if single and noted is None and not (layers and positions):
        raise SAEError(
            f"--sae {options.sae} does not say at which site it was trained.", "Give --layer and --position."
        )
    own = Site.parse(noted) if noted else Site(LAYER, POSITION)
    return tuple(
        replace(own, layer=layer, position=position)
        for layer in layers or (own.layer,)
        for position in positions or (own.position,)
    )


def _asked(options: AnyOptions) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Layers and positions that were named."""
    if isinstance(options, SitesOptions):
        return options.layers, options.positions
    one, other = ((value,) if value is not None else () for value in (options.layer, options.position))
    return one, other


def profile_asked(
    options: FeatureOptions,
    folder: RunFolder,
    report: Report,
    *,
    answers: bool = False,
    screen: str | None = None,
    features: Sequence[int] = (),
) -> "Profiles":
    """The profiles that the options mean, cheapest errors first; the folder is claimed.

    Args:
        answers: also let the model answer.
        screen: a kept screen whose effects are put beside the profiles.
        features: what the SAE has to have.
    """
    ((profiles,),) = profile_several(options, folder, report, answers=answers, screen=screen, features=features)
    return profiles


def profile_several(
    options: AnyOptions,
    folder: RunFolder,
    report: Report,
    *,
    answers: bool = False,
    screen: str | None = None,
    features: Sequence[int] = (),
    others: "Sequence[Problem] | None" = None,
) -> "list[list[Profiles]]":
    """The same at every site: its profiles, and behind them those of the same SAE on other problems."""
    from codi_int.cli._sites import open_model, saes_for
    from codi_int.data.problems import load_problems, problems_sha256
    from codi_int.features.causal import attach_screen, read_screen
    from codi_int.features.profiles import check_feature, profile_sites
    from codi_int.progress import rename_stage
    from codi_int.sae.store import load_sae

    sites, problems = sites_meant(options), load_problems(options.data, options.limit)
    effects = None if screen is None else read_screen(screen)
    model = open_model(options.model, options.device, options.reinitialize)
    for site in sites:
        model.check_site(site)
    names = saes_for(options.model, options.sae, sites)
    saes = {site: load_sae(name, device=options.device) for site, name in names.items()}
    for sae in saes.values():
        for feature in features:
            check_feature(feature, sae.d_sae)
    hashes = {"confirmation": problems_sha256(others)} if others is not None else {}
    folder.claim(model=model.sha256, **_sae_hashes(saes), data=problems_sha256(problems), **hashes)
    found = [[one] for one in profile_sites(saes, model, problems, progress=report, answers=answers)]
    if effects is not None:
        found = [[attach_screen(one, effects)] for (one,) in found]
    if others is not None:
        told = rename_stage(report, "thoughts that confirm")
        more = profile_sites(saes, model, others, progress=told, answers=answers)
        found = [[*own, one] for own, one in zip(found, more, strict=True)]
    return found


def _sae_hashes(saes: "Mapping[Site, SAE]") -> dict[str, str]:
    """What a folder remembers of them: `sae` of one, `sae L3.P1` and so on of several."""
    if len(saes) == 1:
        (only,) = saes.values()
        return {"sae": only.sha256}
    return {f"sae {site}": sae.sha256 for site, sae in saes.items()}


def profile_sides(
    options: AnyOptions, folder: RunFolder, report: Report, confirm: str
) -> "list[tuple[Profiles, Profiles | None]]":
    """Of every site the profiles that select, and those that confirm; None where two folds confirm each other.

    Raises:
        ConfigError: confirming problems that have selected, or `none`.
    """
    from codi_int.data.problems import load_problems
    from codi_int.interventions.screens.sides import NONE, SelectionPlan, take_sides

    if confirm == NONE:
        raise ConfigError(
            "--confirm none: what is not confirmed is no specialist.", "Give folds, other problems, or leave it out."
        )
    confirming = take_sides(load_problems(options.data, options.limit), SelectionPlan(confirm=confirm)).confirming
    found = profile_several(options, folder, report, others=confirming)
    return [(own[0], own[1] if len(own) > 1 else None) for own in found]
