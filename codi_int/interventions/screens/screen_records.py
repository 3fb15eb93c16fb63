"""Records of a screen: a row for each feature, the sites, and the whole."""

from dataclasses import dataclass
from typing import Any

from codi_int.interventions.evidence.family import NO_FLIPS, Flips
from codi_int.interventions.screens.additivity import PairRow
from codi_int.interventions.screens.confirmed import (
    CONFIRMATION_COLUMNS,
    Confirmation,
    FlatConfirmation,
    Selection,
)
from codi_int.records import EFFECT_COLUMNS, EVIDENCE_COLUMNS, ArmEffect, FlatEffect, flatten, table_row
from codi_int.shown import Finding
from codi_int.types import Environment, Later, RunCounts, Site


@dataclass(frozen=True)
class ScreenRow(FlatEffect, FlatConfirmation):
    """What the edit of one feature did."""

    site: Site
    """where"""
    feature: int
    """which feature"""
    firing_rate: float
    """share of problems on which it fires"""
    edit_size: float
    """mean norm of what the edit adds to a touched residual"""
    effect: ArmEffect
    """on the answers; p-values are corrected over the features of the screen that fire, all sites together"""
    rank: float | None = None
    """share of matched features of the site whose change of accuracy is smaller in magnitude"""
    rank_logprob: float | None = None
    """the same for the log-probability"""
    selected: bool = False
    """whether it is a finding of accuracy among all that was screened; see `Selection`"""
    selected_logprob: bool = False
    """the same for the log-probability"""
    confirmation: Confirmation | None = None
    """how what was selected did on problems that did not select it"""
    flips: Flips = NO_FLIPS
    """rows of the problems whose correctness changed"""
    folds: tuple[ArmEffect, ...] = ()
    """the effect on either fold, where two folds confirm each other"""

    columns = (
        "site",
        "feature",
        "firing_rate",
        "edit_size",
        *EFFECT_COLUMNS,
        "rank",
        "rank_logprob",
        *EVIDENCE_COLUMNS,
        *CONFIRMATION_COLUMNS,
        "flips",
        "folds",
    )


@dataclass(frozen=True)
class ScreenSite:
    """One of a screen's sites."""

    site: Site
    """where"""
    sae: str
    """name of its SAE"""
    sae_sha256: str
    """of the SAE's weights"""
    n_features: int
    """features that were screened there"""
    n_living: int
    """how many of them the edit touches any problem of"""


@dataclass(frozen=True, repr=False)
class Screen(Finding):
    """A finished screen."""

    kind: str
    """what was done to each feature"""
    site: Site
    """where; the first of several sites"""
    model: str
    """name of the model"""
    sae: str
    """name of the SAE; of the first of several sites"""
    data: str
    """name of the problems"""
    n_problems: int
    """how many"""
    n_correct: int
    """right answers of the baseline: the undisturbed model, or the one whose later positions are silent (`later`)"""
    seed: int
    """of the bootstrap and of the matched features"""
    rows: tuple[ScreenRow, ...]
    """one per feature, site by site, in the order of the features"""
    counts: RunCounts
    """work done and saved"""
    environment: Environment
    """versions, hashes, time; for the SAEs of several sites see `sites`"""
    sites: tuple[ScreenSite, ...]
    """every site, in the order asked for"""
    pairs: tuple[PairRow, ...] = ()
    """features that were also taken out two at a time"""
    notes: tuple[str, ...] = ()
    """what a reader should know besides: warnings, in words"""
    selection: Selection | None = None
    """what was selected on which problems, and confirmed on which others; None in screens kept before there was any"""

    pair_selection: Selection | None = None
    """the same of the pairs' departures, where there are pairs"""
    later: Later = "free"
    """what later positions of the layer did, in the baseline as well: `free`, `mean` (silent) or `clean`"""

    schema = "codi-int/screen@1"

    def ranked(self) -> tuple[ScreenRow, ...]:
        """Strongest effects first: by accuracy's p-value, then by the log-probability's size."""
        return tuple(sorted(self.rows, key=_strength))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; a row's site is a word such as L14.P3."""
        tables = {"rows": [table_row(row) for row in self.rows], "pairs": [table_row(row) for row in self.pairs]}
        return {"schema": self.schema, **flatten(self), **tables}


def _strength(row: ScreenRow) -> tuple[float, float]:
    # None (dead) sorts behind everything that was tested; equal p-values, of which exact tests make many, by size
    return (1.0 if row.p_value is None else row.p_value, -abs(row.logprob))
