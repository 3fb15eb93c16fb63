"""Sites as users write them; numbers are in `numeric`, problems in `data.problems`."""

from collections.abc import Iterable

from codi_int.types import Site, SiteLike

SitesLike = SiteLike | Iterable[SiteLike]
"""one site or several"""


def as_site(given: SiteLike) -> Site:
    """The site that is meant; SiteError for what names none."""
    return Site.parse(given)


def as_sites(given: SitesLike) -> tuple[Site, ...]:
    """The sites that are meant, by one of them or several."""
    # a pair of numbers is one site, a pair of sites are two
    parts = isinstance(given, tuple | list) and bool(given) and not isinstance(given[0], Site | str | tuple | list)
    if isinstance(given, Site | str) or parts or not isinstance(given, Iterable):
        return (as_site(given),)  # type: ignore[arg-type]
    return tuple(as_site(site) for site in given)
