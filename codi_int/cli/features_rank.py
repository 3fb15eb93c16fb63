"""`codi-int features rank`: the alive features of an SAE."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from codi_int.cli import _options as o
from codi_int.cli._feature_runs import FeatureOptions, ScreenFolder, profile_asked
from codi_int.cli._job import Kept, run_folder, run_job
from codi_int.cli._signature import with_options
from codi_int.errors import ConfigError
from codi_int.files import write_csv, write_json

if TYPE_CHECKING:
    from codi_int.features.profiles import FeatureProfile, Profiles

NAME = "features-rank"
TOP = 20


@dataclass(frozen=True, kw_only=True)
class RankOptions(FeatureOptions):
    """Which SAE, and how much of it to show."""

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
    """Profiles, and which of them were asked for."""

    profiles: "Profiles"
    """all alive features"""
    rows: "tuple[FeatureProfile, ...]"
    """those that were asked for"""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        from codi_int.records import flatten

        return {**self.profiles.to_dict(), "rows": [flatten(row) for row in self.rows]}


@with_options
def rank(options: RankOptions) -> None:
    """The alive features of an SAE, the most frequent first: how often they fire, and how strongly.

    Without --sae, --layer and --position: those of the shipped SAE at layer 14, position 3.
    Example: codi-int features rank --layer 14 --position 3 --top 10
    """
    from codi_int.cli._feature_pages import rank_page

    if options.ranks and min(options.ranks) < 1:
        raise ConfigError(f"--rank starts at 1, got {min(options.ranks)}.", "Write --rank 1-20, for example.")
    folder, wanted = run_folder(options, free=("top",)), set(options.ranks)

    def work(report: Any) -> Ranking:
        found = profile_asked(options, folder, report, screen=options.screen)
        return Ranking(found, tuple(row for row in found if not wanted or row.rank in wanted))

    run_job(
        work,
        document=Ranking.to_dict,
        page=lambda found: rank_page(found.profiles, found.rows, options.top or (len(options.ranks) or TOP)),
        as_json=options.as_json,
        out=folder,
        keep=_keep,
    )


def _keep(found: Ranking, out: Path) -> Kept:
    from codi_int.features.profiles import FeatureProfile

    document = found.to_dict()
    write_json(out / f"{NAME}.json", document)
    rows = [{**row, "reads_as": " ".join(row["reads_as"])} for row in document["rows"]]
    write_csv(out / f"{NAME}.csv", rows, list(FeatureProfile.columns))
    return Kept((f"{NAME}.json", f"{NAME}.csv"), [(document, out)])
