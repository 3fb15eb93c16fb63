"""What a screen or a curve calls its problems and SAEs, where its caller has other names than they have themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codi_int.data.problems import name_of_problems
from codi_int.sae.base import SAE
from codi_int.types import Problem, Site


@dataclass(frozen=True)
class Names:
    """For the record of what was run."""

    data: str
    """of the problems"""
    saes: Mapping[Site, str]
    """of the SAE of each site"""


def take_names(given: Mapping[str, Any], problems: Sequence[Problem], saes: Mapping[Site, SAE]) -> Names:
    """The names of a run.

    Args:
        given: `data` and `sae_name` (one for all sites, or one for each), as callers give them by keyword; what is
            left out or None goes by the name that problems and SAEs have.
        problems: of the run.
        saes: of its sites.

    Raises:
        TypeError: for a keyword that is neither.
    """
    unknown = given.keys() - {"data", "sae_name"}
    if unknown:
        raise TypeError(f"unexpected keyword argument {min(unknown)!r}")
    name = given.get("sae_name")
    named: Mapping[Site, Any] = name if isinstance(name, Mapping) else dict.fromkeys(saes, name)
    return Names(
        data=name_of_problems(problems, given.get("data")),
        saes={site: named.get(site) or str(getattr(sae, "name", "unnamed")) for site, sae in saes.items()},
    )
