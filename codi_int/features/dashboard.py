"""Every alive feature of an SAE at once, as a dashboard shows it; one in full is `describe_feature`."""

from collections.abc import Container, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codi_int.errors import DataError
from codi_int.features.decoder import DirectionToken, Neighbour, nearest_features, read_directions
from codi_int.features.details import TopProblem, top_problems
from codi_int.features.profiles import FeatureProfile, Profiles
from codi_int.features.rule_table import RuleComparison
from codi_int.features.specialization_records import SpecializationRow

BINS = 20
"""of a histogram"""


@dataclass(frozen=True)
class FeatureCard:
    """One feature, with what every rule calls it."""

    profile: FeatureProfile
    """how often and how strongly it fires, and what removing it did"""
    counts: tuple[int, ...]
    """histogram of its latent where it fires: problems in each bin"""
    low: float
    """lower end of the first bin"""
    high: float
    """upper end of the last one"""
    top: tuple[TopProblem, ...]
    """where it fires most strongly, by magnitude"""
    promotes: tuple[DirectionToken, ...]
    """what the logit lens reads off its decoder row; empty without a model"""
    suppresses: tuple[DirectionToken, ...]
    """what it reads off the row turned round"""
    nearest: tuple[Neighbour, ...]
    """features whose decoder rows are most alike"""
    rules: Mapping[str, SpecializationRow]
    """rule of specialization to what it calls the feature; empty where no problem has written steps"""


def feature_cards(
    profiles: Profiles, rules: RuleComparison | None, top: int = 5, among: Container[int] | None = None
) -> list[FeatureCard]:
    """A card for each alive feature, the most frequent first.

    Args:
        profiles: of the SAE's features.
        rules: what the rules of specialization make of them; None where that is unknown.
        top: problems, tokens and neighbours to name.
        among: only these features; None for all, which for a large SAE is more than one page can show.

    Raises:
        DataError: profiles of bare activations, which have no problems to show.
    """
    if not profiles.problems:
        raise DataError("The profiles have no problems to show.", "Profile the SAE on problems, not on activations.")
    chosen = [row for row in profiles.rows if among is None or row.feature in among]
    alive = [row.feature for row in chosen]
    # all rows at once: the lens of five hundred features is one product
    rows, model = profiles.sae.W_dec[alive], profiles.model
    none: list[tuple[DirectionToken, ...]] = [()] * len(alive)
    promotes = none if model is None or not alive else read_directions(model, rows, top)
    suppresses = none if model is None or not alive else read_directions(model, -rows, top)
    near = nearest_features(profiles.sae.W_dec, alive, top) if alive else []
    called = [] if rules is None else [{row.feature: row for row in one.rows} for one in rules.rules]
    names = [] if rules is None else [one.rule for one in rules.rules]
    return [
        _card(
            profiles,
            profile,
            top,
            (promotes[i], suppresses[i], near[i]),
            {name: table[profile.feature] for name, table in zip(names, called, strict=True)},
        )
        for i, profile in enumerate(chosen)
    ]


def _card(
    profiles: Profiles,
    profile: FeatureProfile,
    top: int,
    read: tuple[tuple[DirectionToken, ...], tuple[DirectionToken, ...], tuple[Neighbour, ...]],
    rules: Mapping[str, SpecializationRow],
) -> FeatureCard:
    column = profiles.column(profile.feature)
    counts, low, high = histogram(column)
    return FeatureCard(
        profile=profile,
        counts=counts,
        low=low,
        high=high,
        top=top_problems(profiles, column, top),
        promotes=read[0],
        suppresses=read[1],
        nearest=read[2],
        rules=rules,
    )


def histogram(column: NDArray[np.float32]) -> tuple[tuple[int, ...], float, float]:
    """Problems by the size of a latent, those on which it does not fire left out, and the ends of the bins. [n]"""
    fires = column[column != 0]
    if not len(fires):
        return (0,) * BINS, 0.0, 0.0
    counts, edges = np.histogram(fires, BINS)
    return tuple(map(int, counts)), float(edges[0]), float(edges[-1])
