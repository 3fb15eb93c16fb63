"""Where the cells of a map by the two paths do not add up to the cell by both: a family of departures, confirmed."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from codi_int.interventions.screens.additivity import DEPARTURES, Interaction, departure_of
from codi_int.interventions.screens.changes import ArmChange
from codi_int.interventions.screens.confirmed import Selection
from codi_int.interventions.screens.judging import Again, judge, measure_arms
from codi_int.interventions.screens.sides import Sides
from codi_int.interventions.screens.thought_map import PATHS, PathSplit
from codi_int.types import Site


def departure_by_path(by_path: Mapping[str, ArmChange]) -> ArmChange:
    """What the two paths alone do not add up to."""
    return departure_of(by_path["both"], [by_path[path] for path in PATHS[1:]])


def split_paths(
    sites: Sequence[Site],
    changes: Mapping[str, Mapping[Site, ArmChange]],
    sides: Sides,
    again: Callable[[Sequence[Any]], Again],
    seed: int,
) -> tuple[tuple[PathSplit, ...], Selection]:
    """What the two paths do not add up to, for the sites that have both: a family of its own that is confirmed."""
    # a site at the last layer of the last position has one path only: nothing to take apart
    both = [site for site in sites if all(site in changes[path] for path in PATHS)]
    departures: dict[Hashable, ArmChange] = {
        site: departure_by_path({path: changes[path][site] for path in PATHS}) for site in both
    }
    measured = measure_arms(departures, sides, seed, DEPARTURES)
    judged = judge(list(measured.values()), sides, again, seed, DEPARTURES)
    columns = (judged.effects, judged.selected, judged.selected_logprob, judged.confirmations)
    found = tuple(
        PathSplit(
            site,
            Interaction.of(effect, departures[site], "accuracy").judged(effect),
            Interaction.of(effect, departures[site], "logprob"),
            additivity=effect.conclusion,
            selected=selected,
            selected_logprob=selected_logprob,
            confirmation=confirmation,
        )
        for site, effect, selected, selected_logprob, confirmation in zip(both, *columns, strict=True)
    )
    return found, judged.selection
