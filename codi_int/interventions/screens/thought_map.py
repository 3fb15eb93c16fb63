"""The map of a chain of thought: what is lost when the residual at a layer and position says nothing of its problem."""

from dataclasses import dataclass, replace
from typing import Any

from codi_int.errors import ConfigError
from codi_int.interventions.screens.additivity import Interaction
from codi_int.interventions.screens.confirmed import (
    CONFIRMATION_COLUMNS,
    Confirmation,
    FlatConfirmation,
    Selection,
)
from codi_int.records import EFFECT_COLUMNS, EVIDENCE_COLUMNS, Alias, ArmEffect, Conclusion, FlatEvidence, flatten
from codi_int.shown import Finding
from codi_int.sites import as_sites
from codi_int.types import Environment, RunCounts, Site

KINDS = ("mean", "zero")
PATHS = ("both", "cache", "recurrence")
SPLIT = "split"
DIRECTIONS = ("onwards", "upto")
LATERS = ("free", "mean", "clean", "only")
EACH = "each"
SIDE_BY_SIDE = ("free", "mean", "only")
"""the conditions of `each`"""
NO_PATH = "no path: nothing that comes later reads this place"


@dataclass(frozen=True)
class MapPlan:
    """Which cells, and what is done to each."""

    sites: tuple[Site, ...]
    """the cells, as sites, their texts or parts; stored as a tuple of sites"""
    kind: str = "mean"
    """what takes the residual's place: `mean` over the problems of the run, or `zero`"""
    propagate: str = "both"
    """`both`, `cache`, `recurrence`, or `split` for all three"""
    cumulative: bool = False
    """replace several positions together, at the same layer"""
    direction: str = "onwards"
    """which ones: `onwards` from the cell's own position to the last, or `upto` it from thought 1 on"""
    memory_budget: int | None = None
    """bytes of keys and values that are held at once, None for the engine's default; changes no result"""
    later: str = "free"
    """what other positions of a cell's layer do, in the cell's arm and in the one that it is measured against: `free`;
    `mean` (or zero): later ones replaced as well; `clean`: later ones held at their clean values; `only`: all others
    replaced, so that the cell alone is kept or lost; `each` for free, mean and only side by side"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sites", as_sites(self.sites))
        for name, value, known in (
            ("kind", self.kind, KINDS),
            ("propagate", self.propagate, (*PATHS, SPLIT)),
            ("direction", self.direction, DIRECTIONS),
            ("later", self.later, (*LATERS, EACH)),
        ):
            if value not in known:
                raise ConfigError(f"{name}={value!r} does not exist.", f"It is one of {', '.join(known)}.")
        if not self.sites:
            raise ConfigError("A map has at least one cell, got none.", "Name a layer and a position.")
        if self.later != "free" and (self.cumulative or self.propagate != "both"):
            other = "--cumulative" if self.cumulative else f"--propagate {self.propagate}"
            raise ConfigError(
                f"--later {self.later} says what other positions do, and so does {other}: a map has one of the two.",
                "Leave one of them out, or write --later free.",
            )

    @property
    def laters(self) -> tuple[str, ...]:
        """The conditions that every cell is run in."""
        return SIDE_BY_SIDE if self.later == EACH else (self.later,)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that every cell is run with."""
        return PATHS if self.propagate == SPLIT else (self.propagate,)

    def replaced_with(self, site: Site, n_thoughts: int) -> tuple[Site, ...]:
        """The sites that a cell replaces together."""
        # one cell, one position; its neighbours stay clean
        if not self.cumulative:
            return (site,)
        # Same layer at every position. `upto` begins at thought 1, for position 0 belongs to the question; only the
        # cell of position 0 itself replaces it.
        onwards = range(site.position, n_thoughts + 1)
        upto = range(min(1, site.position), site.position + 1)
        return tuple(replace(site, position=p) for p in (onwards if self.direction == "onwards" else upto))


@dataclass(frozen=True)
class MapCell(FlatEvidence, FlatConfirmation):
    """What replacing the residual at one layer and position did; no numbers where nothing later reads it."""

    site: Site
    """where; the first place that is replaced, where a cell replaces several positions"""
    propagate: str
    """by which paths the change could go on: both, cache or recurrence"""
    n_replaced: int
    """how many positions were replaced together; 0 for a cell without a path"""
    effect: ArmEffect | None = None
    """on the answers; p-values are corrected over all cells of the map that have a path, of all paths together"""
    note: str = ""
    """why there are no numbers, where there are none"""
    selected: bool = False
    """whether it is a finding of accuracy among all cells; see `Selection`"""
    selected_logprob: bool = False
    """the same for the log-probability"""
    confirmation: Confirmation | None = None
    """how what was selected did on problems that did not select it"""
    later: str = "free"
    """what the other positions of the layer did, in both arms: free, mean (later ones silent), clean, or only (all
    others silent)"""
    n_correct_before: int | None = None
    """right answers of the arm that the cell is measured against; None where no path leads to the answer"""

    estimate = Alias[float | None]("effect.accuracy.value")
    low = Alias[float | None]("effect.accuracy.low")
    high = Alias[float | None]("effect.accuracy.high")
    p_value = Alias[float | None]("effect.accuracy.p_value")
    p_adjusted = Alias[float | None]("effect.accuracy.p_adjusted")
    n_touched = Alias[int | None]("effect.n_touched")
    n_broken = Alias[int | None]("effect.n_broken")
    n_fixed = Alias[int | None]("effect.n_fixed")
    n_answer_changed = Alias[int | None]("effect.n_answer_changed")
    logprob = Alias[float | None]("effect.logprob.value")
    logprob_low = Alias[float | None]("effect.logprob.low")
    logprob_high = Alias[float | None]("effect.logprob.high")
    logprob_p = Alias[float | None]("effect.logprob.p_value")
    logprob_p_adjusted = Alias[float | None]("effect.logprob.p_adjusted")

    columns = (
        "site",
        "propagate",
        "n_replaced",
        *EFFECT_COLUMNS,
        "note",
        "later",
        "n_correct_before",
        *EVIDENCE_COLUMNS,
        *CONFIRMATION_COLUMNS,
    )

    @property
    def has_path(self) -> bool:
        """Whether the change can reach the answer at all."""
        # a cell without a path has a note in place of numbers, so that nobody reads its zero as a finding
        return not self.note


@dataclass(frozen=True)
class PathSplit(FlatConfirmation):
    """How much of a cell's effect goes by which path, and what the two paths do not add up to."""

    site: Site
    """where"""
    accuracy: Interaction
    """effect by both paths minus (by the cache alone + by the recurrence alone), change of accuracy"""
    logprob: Interaction
    """the same in nats of the clean answer's log-probability"""
    additivity: Conclusion | None = None
    """whether accuracy departs from the sum of the paths: `changed`, `equivalent`, `untested` or `unresolved`"""
    selected: bool = False
    """whether the departure is a finding of accuracy among all sites; see `Selection`"""
    selected_logprob: bool = False
    """the same for the log-probability"""
    confirmation: Confirmation | None = None
    """the departure of what was selected, on problems that did not select it"""

    # as pairs of features call theirs
    interaction = Alias[Interaction]("accuracy")

    columns = ("site", "accuracy", "logprob", "additivity", *CONFIRMATION_COLUMNS)


@dataclass(frozen=True, repr=False)
class ThoughtMap(Finding):
    """A finished map."""

    kind: str
    """what takes the residual's place: mean (over the problems) or zero"""
    cumulative: bool
    """whether a cell replaces several positions together"""
    direction: str | None
    """which positions a cumulative cell replaces: onwards (its own to the last) or upto (thoughts 1 to its own)"""
    propagate: str
    """both, cache, recurrence, or split: every cell three times, by both paths and by either alone"""
    model: str
    """name of the model"""
    data: str
    """name of the problems"""
    n_problems: int
    """how many"""
    n_correct: int
    """right answers of the undisturbed model"""
    seed: int
    """of the bootstrap"""
    cells: tuple[MapCell, ...]
    """in the first condition, by path, then layer, then position; layer None, at the end, is the projected thought that
    a position makes"""
    splits: tuple[PathSplit, ...]
    """one for each site whose two paths are both open, where the paths were told apart"""
    counts: RunCounts
    """work done and saved"""
    environment: Environment
    """versions, hashes, time"""
    notes: tuple[str, ...] = ()
    """what a reader should know besides: warnings, in words"""
    selection: Selection | None = None
    """what was selected on which problems, and confirmed on which others; None in maps kept before there was any"""
    split_selection: Selection | None = None
    """the same of the sites' departures from the sum of the paths, where the paths were told apart"""
    later: str = "free"
    """what other positions of a cell's layer did: free, mean, clean, only, or each: free, mean and only side by side"""
    contexts: tuple[MapCell, ...] = ()
    """with `each` the same cells where later positions are silent, and where all others are; one family with `cells`"""

    schema = "codi-int/map@1"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema": self.schema, **flatten(self)}
