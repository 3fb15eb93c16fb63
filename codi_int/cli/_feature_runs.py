"""What the commands of `codi-int features` share: their options, the site that they mean, and the profiles."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from codi_int.catalog import is_sae, site_noted
from codi_int.cli import _options as o
from codi_int.cli._console import Report
from codi_int.errors import ConfigError, SAEError
from codi_int.run_folder import RunFolder

if TYPE_CHECKING:
    from codi_int.features.profiles import Profiles
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


@dataclass(frozen=True, kw_only=True)
class FeatureOptions(o.KeptOptions):
    """An SAE and problems for it."""

    reinitialize: o.Reinitialize = None
    layer: o.OwnLayer = None
    position: o.OwnPosition = None
    sae: o.Sae = None


def site_meant(options: FeatureOptions) -> "Site":
    """The site asked for; where none is, that of the SAE, else the shipped one's."""
    from codi_int.types import Site

    single = options.sae is not None and is_sae(options.sae)
    noted = site_noted(options.sae) if single and options.sae else None
    if single and noted is None and (options.layer is None or options.position is None):
        raise SAEError(
            f"--sae {options.sae} does not say at which site it was trained.", "Give --layer and --position."
        )
    own = Site.parse(noted) if noted else Site(LAYER, POSITION)
    layer = own.layer if options.layer is None else options.layer
    return replace(own, layer=layer, position=own.position if options.position is None else options.position)


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
    return profile_several(options, folder, report, answers=answers, screen=screen, features=features)[0]


def profile_several(
    options: FeatureOptions,
    folder: RunFolder,
    report: Report,
    *,
    answers: bool = False,
    screen: str | None = None,
    features: Sequence[int] = (),
    others: "Sequence[Sequence[Problem]]" = (),
) -> "list[Profiles]":
    """The same, and the profiles of the same SAE on other problems behind it."""
    from codi_int.cli._sites import open_model, saes_for
    from codi_int.data.problems import load_problems, problems_sha256
    from codi_int.features.causal import attach_screen, read_screen
    from codi_int.features.profiles import check_feature, profile_features
    from codi_int.progress import rename_stage
    from codi_int.sae.store import load_sae

    site, problems = site_meant(options), load_problems(options.data, options.limit)
    effects = None if screen is None else read_screen(screen)
    model = open_model(options.model, options.device, options.reinitialize)
    model.check_site(site)
    (name,) = saes_for(options.model, options.sae, [site]).values()
    sae = load_sae(name, device=options.device)
    for feature in features:
        check_feature(feature, sae.d_sae)
    hashes = {"confirmation": problems_sha256(others[0])} if others else {}
    folder.claim(model=model.sha256, sae=sae.sha256, data=problems_sha256(problems), **hashes)
    found = [profile_features(sae, model, problems, site=site, progress=report, answers=answers)]
    if effects is not None:
        found[0] = attach_screen(found[0], effects)
    for more in others:
        told = rename_stage(report, "thoughts that confirm")
        found.append(profile_features(sae, model, more, site=site, progress=told, answers=answers))
    return found


def profile_sides(
    options: FeatureOptions, folder: RunFolder, report: Report, confirm: str
) -> "tuple[Profiles, Profiles | None]":
    """Profiles that select, and those that confirm; None of the latter where two folds confirm each other.

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
    found = profile_several(options, folder, report, others=[] if confirming is None else [confirming])
    return found[0], found[1] if confirming is not None else None
