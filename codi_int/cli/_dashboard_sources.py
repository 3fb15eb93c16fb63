"""What a dashboard is made from: SAEs, and kept runs that edited their features."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from codi_int.catalog import is_sae, saes_below, shipped_models, sites_with_sae
from codi_int.errors import ConfigError, DataError, SAEError
from codi_int.interventions.kept import load_result
from codi_int.interventions.screens.dictionaries import SeedComparison
from codi_int.interventions.screens.screen import Screen
from codi_int.interventions.screens.thought_map import ThoughtMap
from codi_int.sae.store import load_sae
from codi_int.shown import Finding
from codi_int.types import Result, Site

if TYPE_CHECKING:
    from codi_int.sae.base import SAE

SCREEN = "screen.json"


@dataclass(frozen=True)
class KeptRun:
    """A run that was given, and where its report stands."""

    key: str
    """its address within the report of all that were given"""
    found: Finding
    """what it found"""


@dataclass(frozen=True)
class Dictionary:
    """One SAE of a dashboard."""

    label: str
    """begins the addresses of its features: its site, and its folder where several are of one site"""
    name: str
    """of the SAE, or its folder"""
    sae: "SAE"
    """itself"""
    site: Site
    """where it reads"""
    screens: tuple[KeptRun, ...] = ()
    """of this SAE; the effects of the first stand in the table"""
    edits: tuple[KeptRun, ...] = ()
    """results of edits of its features"""
    seeds: tuple[SeedComparison, ...] = ()
    """its features in dictionaries of other seeds"""
    maps: tuple[KeptRun, ...] = ()
    """of its site as a whole"""


@dataclass
class _Reading:
    """What was read so far."""

    saes: dict[tuple[Site, str], Dictionary] = field(default_factory=dict)
    """by site and hash of the weights"""
    maps: list[KeptRun] = field(default_factory=list)
    """of whole sites"""
    model: str = ""
    """name of the model; empty before one is known"""
    chosen: bool = False
    """whether the reader named it, as one does whose folder goes by another name than the model in it"""


@dataclass(frozen=True)
class Sources:
    """Everything that was given."""

    model: str
    """name of the model"""
    dictionaries: tuple[Dictionary, ...]
    """at least one"""
    runs: tuple[Path, ...]
    """those that have a report"""


def read_sources(given: Sequence[Path], model: str | None) -> Sources:
    """SAEs by name or folder, folders of several, and kept runs, each of which is looked into for its SAE.

    Args:
        given: in the order of the command line.
        model: name of the model; None for the one that the first SAE or run names.

    Raises:
        SAEError: what is neither, or an SAE that does not say which model's thoughts it reads.
        ConfigError: runs of several models.
        DataError: a run that is not whole, or none that has features.
    """
    reading, runs = _Reading(model=model or "", chosen=bool(model)), []
    for path in given:
        names = _saes_of(path)
        for name in names:
            _add_sae(reading, name, None)
        if not names:
            runs.append(path)
            for run in _runs_of(path, f"run{len(runs)}"):
                _add_run(reading, run, path)
    if not reading.saes:
        raise DataError(
            f"{', '.join(map(str, given))}: no SAE and no run that edited features of one.",
            "Give an SAE, such as codi-mini/L14.P3, or a folder of codi-int screen --out, beside it.",
        )
    if not reading.model:
        raise SAEError(f"{given[0]} does not say which model's thoughts it reads.", "Give --model.")
    return Sources(reading.model, _labelled(reading), tuple(runs))


def _saes_of(path: Path) -> list[str]:
    """The SAEs that a name or folder stands for; none of a kept run."""
    if is_sae(str(path)):
        return [str(path)]
    if str(path) in shipped_models():
        return [f"{path}/{site}" for site in sites_with_sae(str(path), None)]
    # a screen of several dictionaries keeps those that it trained in its folder
    if (path / SCREEN).is_file():
        return []
    return [str(folder) for folder in saes_below(path)]


def _runs_of(path: Path, key: str) -> list[KeptRun]:
    if not path.exists():
        raise SAEError(
            f"{path} is neither an SAE nor a folder.",
            "Give a name such as codi-mini/L14.P3, a folder of SAEs, or one that codi-int screen --out has kept.",
        )
    inside = sorted(file.parent for file in path.glob("*/result.json"))
    if inside and not (path / "result.json").is_file():
        return [KeptRun(f"{key}-{folder.name}", load_result(folder)) for folder in inside]
    return [KeptRun(key, load_result(path))]


def _add_sae(reading: _Reading, name: str, site: Site | None) -> tuple[Site, str]:
    sae = load_sae(name)
    where = site or sae.site
    if where is None:
        raise SAEError(f"{name} does not say at which site it was trained.", "Give a screen of it.")
    reading.model = reading.model or sae.config.provenance.model or ""
    place = where, sae.sha256
    reading.saes.setdefault(place, Dictionary("", name, sae, where))
    return place


def _add_run(reading: _Reading, run: KeptRun, path: Path) -> None:
    found = run.found
    if isinstance(found, ThoughtMap):
        reading.maps.append(run)
        return
    if isinstance(found, Screen):
        _same_model(reading, found.model, path)
        for place in found.sites:
            key = _add_sae(reading, place.sae, place.site)
            before = reading.saes[key]
            seeds = before.seeds + _seeds_beside(path)
            reading.saes[key] = replace(before, screens=(*before.screens, run), seeds=seeds)
        return
    if isinstance(found, Result) and found.experiment.features:
        done = found.experiment
        _same_model(reading, done.model, path)
        key = _add_sae(reading, done.sae, done.site)
        before = reading.saes[key]
        reading.saes[key] = replace(before, edits=(*before.edits, run))


def _same_model(reading: _Reading, model: str, path: Path) -> None:
    if reading.chosen:
        return
    if reading.model and reading.model != model:
        raise ConfigError(
            f"{path} is a run of {model}, and what was given before it is of {reading.model}.",
            "A dashboard is of one model: give the others by themselves.",
        )
    reading.model = model


def _seeds_beside(path: Path) -> tuple[SeedComparison, ...]:
    from codi_int.cli._report_beside import beside_screen

    seeds = beside_screen(path).seeds
    return () if seeds is None else (seeds,)


def _labelled(reading: _Reading) -> tuple[Dictionary, ...]:
    sites = [site for site, _ in reading.saes]
    out = []
    for one in reading.saes.values():
        alone = sites.count(one.site) == 1
        seeds = tuple(found for found in one.seeds if found.own.sae_sha256 == one.sae.sha256)
        maps = tuple(run for run in reading.maps if _has_site(run.found, one.site))
        label = str(one.site) if alone else f"{one.site}/{Path(one.name).name}"
        # the screen whose later positions are as they go stands for all
        screens = tuple(sorted(one.screens, key=lambda run: getattr(run.found, "later", "free") != "free"))
        out.append(replace(one, label=label, seeds=seeds, maps=maps, screens=screens))
    return tuple(out)


def _has_site(found: Finding, site: Site) -> bool:
    return isinstance(found, ThoughtMap) and any(cell.site == site for cell in found.cells)
