"""`screen --seeds` and `--against`: which dictionaries are meant, and running them beside the site's own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codi_int.cli._console import Report
from codi_int.cli._parsing import whole_numbers
from codi_int.cli._sites import share_passes
from codi_int.data.problems import problems_sha256
from codi_int.errors import ConfigError
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.evidence.concordance import ProblemDraws
from codi_int.interventions.screens.against import compare_dictionaries
from codi_int.interventions.screens.change_store import CHANGES, KeptChanges
from codi_int.interventions.screens.dictionaries import DictionaryComparison, SeedComparison
from codi_int.interventions.screens.screen import Screen
from codi_int.interventions.screens.screen_store import ScreenFolder
from codi_int.interventions.screens.screened import (
    OWN,
    Dictionary,
    Look,
    Screened,
    look_at,
    screen_dictionary,
)
from codi_int.interventions.screens.seeds import compare_seeds, match_looks, partners_of
from codi_int.interventions.screens.sides import SelectionPlan, Sides, take_sides
from codi_int.sae.base import SAE
from codi_int.sae.twins import FROZEN, RANDOM, Twin, get_twins
from codi_int.types import Problem

DICTIONARIES = "dictionaries"
"""folder within --out that keeps the other dictionaries, each with its rows"""


@dataclass(frozen=True)
class Wanted:
    """What a command asks for."""

    seeds: tuple[Twin, ...]
    """dictionaries of other seeds"""
    against: tuple[Twin, ...]
    """dictionaries that this one is compared with as a whole"""


@dataclass(frozen=True)
class Compared:
    """A screen with what stands beside it."""

    screen: Screen
    """of the own dictionary"""
    seeds: SeedComparison | None
    """its features in other seeds"""
    against: DictionaryComparison | None
    """whole dictionaries side by side"""


@dataclass(frozen=True)
class Stage:
    """Everything that the own screen needs."""

    engine: FeatureInterventionEngine
    """with the own SAE at its one site"""
    problems: Sequence[Problem]
    """that select"""
    folder: ScreenFolder | None
    """where the own rows are kept"""
    out: Path | None
    """where everything is kept"""
    features: Sequence[int] | None
    """in the order in which they are run; None for all"""
    plan: SelectionPlan
    """how findings are corrected and confirmed"""
    seed: int
    """of everything random"""
    names: dict[str, Any]
    """as `run_screen` takes them"""


def read_wanted(seeds: str | None, against: str | None, sae: SAE) -> Wanted:
    """The dictionaries that two options name; `--seeds` takes numbers and SAEs, `--against` words and SAEs.

    Raises:
        ConfigError: for an empty list, or seeds of which none is another one.
    """
    return Wanted(_seeds(seeds, sae), _against(against))


def _seeds(text: str | None, sae: SAE) -> tuple[Twin, ...]:
    own = sae.config.provenance.seed
    found: list[Twin] = []
    for word in _words(text, "--seeds", "Write --seeds 0-2, or name SAEs that differ in their seed."):
        if re.fullmatch(r"-?\d+(-\d+)?", word):
            numbers = whole_numbers([word], "--seeds")
            found += [Twin(f"seed {number}", "seed", number) for number in numbers if number != own]
        else:
            found.append(Twin(_short(word), "seed", given=word))
    if text is not None and not found:
        raise ConfigError(
            f"--seeds {text} names only the seed of SAE {sae.name} itself.", "Name others, such as --seeds 1,2."
        )
    return _each_once(found)


def _against(text: str | None) -> tuple[Twin, ...]:
    remedy = f"Write --against {FROZEN},{RANDOM}, or name SAEs."
    words = _words(text, "--against", remedy)
    return _each_once(
        [Twin(word, word) if word in (FROZEN, RANDOM) else Twin(_short(word), "given", given=word) for word in words]
    )


def _words(text: str | None, option: str, remedy: str) -> list[str]:
    if text is None:
        return []
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise ConfigError(f"{option} takes names with commas between them, got {text!r}.", remedy)
    return words


def _short(name: str) -> str:
    """What pages call a given SAE: the last two parts of its name."""
    return "/".join(Path(name).parts[-2:]) or name


def _each_once(twins: Sequence[Twin]) -> tuple[Twin, ...]:
    # by name: the folder of one must not be that of another
    return tuple({twin.name: twin for twin in twins}.values())


def screen_beside(options: Any, stage: Any, features: Sequence[int], family: Screen | None, report: Report) -> Compared:
    """The screen that a command's options ask for, with other dictionaries beside it.

    Args:
        options: of the command.
        stage: what it has loaded: engine, problems, names and folder.
        features: in the order in which they are run.
        family: a screen from which they were picked.
        report: called with (stage, done, total).
    """
    (sae,) = stage.engine.saes.values()
    own = Stage(
        engine=stage.engine,
        problems=stage.problems,
        folder=stage.folder,
        out=options.out,
        features=features,
        plan=SelectionPlan(correction=options.correction, confirm=options.confirm, bound=options.bound),
        seed=options.seed,
        names={"data": options.data, "sae_name": stage.names, "family": family},
    )
    return run_compared(own, read_wanted(options.seeds, options.against, sae), report)


def run_compared(stage: Stage, wanted: Wanted, report: Report) -> Compared:
    """Screen the own dictionary and those beside it, cheapest errors first."""
    site, own_sae = next(iter(stage.engine.saes.items()))
    out = None if stage.out is None else stage.out / DICTIONARIES / str(site)
    twins = get_twins(stage.engine.model, own_sae, site, (*wanted.seeds, *wanted.against), folder=out, progress=report)
    own = Dictionary(OWN, OWN, stage.engine, stage.folder, KeptChanges(stage.out))
    seeds, against = (
        [_dictionary(stage, one, twins[one.name], out) for one in several] for several in (wanted.seeds, wanted.against)
    )
    share_passes([one.engine for one in (own, *seeds, *against)], len(stage.problems))
    sides = take_sides(stage.problems, stage.plan)
    draws = ProblemDraws.make(sides.groups, seed=stage.seed)
    looks = [look_at(one, sides, draws, report) for one in (own, *seeds, *against)]
    look, there, beside = looks[0], looks[1 : 1 + len(seeds)], looks[1 + len(seeds) :]
    # those of other seeds first and unconfirmed: they need the selecting problems alone, whose clean pass is there
    screened = _screen_partners(stage, sides, look, there, report)
    mine = screen_dictionary(own, sides, stage.features, stage.plan, seed=stage.seed, progress=report, **stage.names)
    first = (look, mine)
    pairs = list(zip(there, screened, strict=True))
    found = compare_seeds(first, pairs, sides, draws, seed=stage.seed, progress=report) if pairs else None
    others = [
        (one, screen_dictionary(one.dictionary, sides, None, stage.plan, seed=stage.seed, progress=report))
        for one in beside
    ]
    whole = compare_dictionaries([first, *others], sides, draws, seed=stage.seed, progress=report) if others else None
    return Compared(mine.screen, found, whole)


def _screen_partners(stage: Stage, sides: Sides, look: Look, others: Sequence[Look], report: Report) -> list[Screened]:
    """Other seeds: all that fires where all of the own dictionary is screened, else the partners alone."""
    pairings = match_looks(look, others)
    bare = SelectionPlan(correction=stage.plan.correction, confirm="none", bound=stage.plan.bound)
    whole = stage.features is None or set(look.alive.tolist()) <= set(stage.features)
    out = []
    for one in others:
        chosen = one.alive.tolist() if whole else partners_of(stage.features or (), pairings[one.dictionary.name])
        out.append(screen_dictionary(one.dictionary, sides, chosen, bare, seed=stage.seed, progress=report))
    return out


def _dictionary(stage: Stage, twin: Twin, sae: SAE, out: Path | None) -> Dictionary:
    engine = stage.engine
    site = next(iter(engine.saes))
    other = FeatureInterventionEngine(engine.model, {site: sae}, memory_budget=engine.memory_budget, later=engine.later)
    if out is None:
        return Dictionary(twin.name, twin.kind, other)
    place = out / twin.folder
    place.mkdir(parents=True, exist_ok=True)
    settings: dict[str, str | int] = {
        "kind": "ablate",
        "seed": stage.seed,
        "model": engine.model.sha256,
        "data": problems_sha256(stage.problems),
        "later": engine.later,
    }
    rows = ScreenFolder(place, settings, {site: sae.sha256})
    return Dictionary(twin.name, twin.kind, other, rows, KeptChanges(place))


def check_options(options: Any) -> None:
    """Slips that need no model to see."""
    option = "--against" if options.seeds is None else "--seeds"
    if options.pairs is not None:
        raise ConfigError(f"{option} compares single features, and --pairs brings pairs.", "Leave out one of the two.")
    if len(options.layers) * len(options.positions) > 1:
        raise ConfigError(f"{option} compares dictionaries of one site.", "Name one --layer and one --position.")
    if options.against is not None and options.features:
        raise ConfigError("--against compares whole dictionaries.", "Leave out --feature, or --against.")


def kept_files(beside: Mapping[str, SeedComparison | DictionaryComparison], out: Path) -> list[str]:
    """Write what stands beside a screen, each as a document with its tables; all files, relative to the folder."""
    from codi_int.interventions.kept import write_tables

    names = [name for kind, found in beside.items() for name in write_tables(found, kind, out)]
    inside = (path for path in (out / DICTIONARIES).rglob("*") if path.is_file())
    changes = [CHANGES] if (out / CHANGES).is_file() else []
    return [*names, *changes, *(str(path.relative_to(out)) for path in sorted(inside))]
