"""`codi-int features rank`: the alive features of an SAE, or of those of several sites."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from codi_int.cli import _options as o
from codi_int.cli._feature_runs import ScreenFolder, SitesOptions, profile_several
from codi_int.cli._job import Kept, run_folder, run_job
from codi_int.cli._signature import with_options
from codi_int.errors import ConfigError
from codi_int.files import write_csv, write_json

if TYPE_CHECKING:
    from codi_int.cli._fitting import Page
    from codi_int.features.profiles import FeatureProfile, Profiles

NAME, SITES_SCHEMA = "features-rank", "codi-int/features-rank-sites@1"
TOP = 20


@dataclass(frozen=True, kw_only=True)
class RankOptions(SitesOptions):
    """Which SAEs, and how much of it to show."""

    screen: ScreenFolder = None
    ranks: Annotated[
        tuple[int, ...],
        o.output("--rank", metavar="N", help="Only these, 1 for the most frequent: 1-20.  [default: all]"),
        partial(o.whole_numbers, option="--rank"),
    ] = ()
    top: Annotated[
        int | None,
        o.output(
            parser=o.whole("--top", least=1), metavar="N", help="How many to show.  [default: 20, or all of --rank]"
        ),
    ] = None


@dataclass(frozen=True)
class Ranking:
    """Profiles of each site, and which of them were asked for."""

    profiles: "tuple[Profiles, ...]"
    """all alive features, site by site"""
    rows: "tuple[tuple[FeatureProfile, ...], ...]"
    """those that were asked for"""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; of several sites a list of the documents of each."""
        from codi_int.records import flatten

        parts = [
            {**profiles.to_dict(), "rows": [flatten(row) for row in rows]}
            for profiles, rows in zip(self.profiles, self.rows, strict=True)
        ]
        return parts[0] if len(parts) == 1 else {"schema": SITES_SCHEMA, "sites": parts}


@with_options
def rank(options: RankOptions) -> None:
    """The alive features of an SAE, the most frequent first: how often they fire, and how strongly.

    Without --sae, --layer and --position: those of the shipped SAE at layer 14, position 3. Several layers and
    positions: every combination that has an SAE.
    Example: codi-int features rank --layer 14 --position 3 --top 10
    """
    if options.ranks and min(options.ranks) < 1:
        raise ConfigError(f"--rank starts at 1, got {min(options.ranks)}.", "Write --rank 1-20, for example.")
    folder, wanted = run_folder(options, free=("top",)), set(options.ranks)

    def work(report: Any) -> Ranking:
        sides = profile_several(options, folder, report, screen=options.screen)
        found = tuple(profiles for (profiles,) in sides)
        return Ranking(found, tuple(_wanted(profiles, wanted) for profiles in found))

    run_job(
        work,
        document=Ranking.to_dict,
        page=lambda found: _page(found, options),
        as_json=options.as_json,
        out=folder,
        keep=_keep,
    )


def _wanted(profiles: "Profiles", wanted: set[int]) -> "tuple[FeatureProfile, ...]":
    return tuple(row for row in profiles if not wanted or row.rank in wanted)


def _page(found: Ranking, options: RankOptions) -> "Page":
    from codi_int.cli._feature_pages import rank_page, ranks_page

    most = options.top or len(options.ranks)
    if len(found.profiles) == 1:
        return rank_page(found.profiles[0], found.rows[0], most or TOP)
    return ranks_page(found.profiles, found.rows, most or max(TOP // len(found.profiles), 1))


def _keep(found: Ranking, out: Path) -> Kept:
    from codi_int.features.profiles import FeatureProfile
    from codi_int.report.documents import site_name

    document = found.to_dict()
    write_json(out / f"{NAME}.json", document)
    several = len(found.profiles) > 1
    rows = []
    for part in document["sites"] if several else [document]:
        place = {"site": site_name(part["site"])} if several else {}
        rows += [{**place, **row, "reads_as": " ".join(row["reads_as"])} for row in part["rows"]]
    write_csv(out / f"{NAME}.csv", rows, [*(["site"] if several else []), *FeatureProfile.columns])
    return Kept((f"{NAME}.json", f"{NAME}.csv"), [(document, out)])
