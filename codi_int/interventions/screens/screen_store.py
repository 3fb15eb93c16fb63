"""A screen on disk: finished rows while it runs, so that an interrupted one goes on; table and JSON at its end."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from codi_int.errors import CodiError, OutputError
from codi_int.files import read_json_object, write_text
from codi_int.interventions.engine.documents import save_document
from codi_int.interventions.screens.additivity import PairRow
from codi_int.interventions.screens.screen import ScreenRow
from codi_int.records import differing_key, plain_row, table_row, unflatten
from codi_int.types import RunCounts, Site

FINISHED = "finished"
Row = TypeVar("Row", ScreenRow, PairRow)


@dataclass(frozen=True)
class Finished:
    """What an interrupted screen has left."""

    rows: tuple[ScreenRow, ...] = ()
    """features of the sites that are screened"""
    pairs: tuple[PairRow, ...] = ()
    """pairs of features"""
    elsewhere: tuple[Site, ...] = ()
    """sites that the folder holds rows of and that are not screened now"""
    counts: Mapping[Site, RunCounts] = field(default_factory=dict)
    """the work that the rows of each site took"""

    @property
    def amount(self) -> str:
        """How much there is, in words."""
        pairs = f" and {len(self.pairs)} pairs" if self.pairs else ""
        return f"{len(self.rows)} features{pairs}"

    def other_sites(self, sites: Sequence[Site]) -> str:
        """What becomes of rows in a folder that was begun with another set of sites, in two lines."""
        shared = len({row.site for row in self.rows} & set(sites))
        named = ", ".join(map(str, self.elsewhere[:3])) + (", ..." if len(self.elsewhere) > 3 else "")
        return (
            f"{shared} of the {len(sites)} asked for have rows there, as have {len(self.elsewhere)} others ({named}).\n"
            "Rows of common sites are taken; the others stay in the folder and do not count in this family."
        )


class ScreenFolder:
    """Where one screen keeps its rows, a file for each site, so that a screen of other sites finds those it shares.

    One file for all would be written again, whole, with every group of features: of 112 sites that is 90 MB each time.
    Rows of another screen in the same folder are refused, not mixed.
    """

    def __init__(self, folder: Path, settings: dict[str, str | int], saes: Mapping[Site, str]) -> None:
        """
        Args:
            folder: an existing folder.
            settings: what makes two screens the same one; compared when the folder holds rows already.
            saes: the sites that are screened, each with the hash of its SAE, which is compared too.
        """
        self._folder, self._rows = folder, folder / FINISHED
        self._settings = {site: {**settings, "site": str(site), "sae": sae} for site, sae in saes.items()}
        # what lies in each site's file
        self._kept: dict[Site, int] = {}
        self._counts: dict[Site, RunCounts] = {}

    def count(self, counts: Mapping[Site, RunCounts]) -> None:
        """Note the work of each site, which is written with its rows: counts are of the whole run, stopped or not."""
        self._counts |= counts

    def finished(self) -> Finished:
        """What an interrupted run of the same screen has left.

        Raises:
            OutputError: where the folder holds rows of another screen, or a file that is none of ours.
        """
        parts = [self._read_site(site) for site in self._settings]
        names = {self._path(site).name for site in self._settings}
        others = sorted(path.stem for path in self._rows.glob("*.json") if path.name not in names)
        return Finished(
            rows=tuple(row for part in parts for row in part.rows),
            pairs=tuple(pair for part in parts for pair in part.pairs),
            elsewhere=tuple(Site.parse(name) for name in others),
            counts={site: counts for part in parts for site, counts in part.counts.items()},
        )

    def keep(self, rows: Sequence[ScreenRow], pairs: Sequence[PairRow] = ()) -> None:
        """Write everything that is finished; a site's file in one go, and only where there is more than it holds."""
        for site, settings in self._settings.items():
            mine, together = [row for row in rows if row.site == site], [pair for pair in pairs if pair.site == site]
            if len(mine) + len(together) == self._kept.get(site, 0):
                continue
            kept = {"settings": settings, "rows": list(map(table_row, mine)), "pairs": list(map(table_row, together))}
            if site in self._counts:
                kept["counts"] = asdict(self._counts[site])
            write_text(self._path(site), json.dumps(kept, allow_nan=False), durable=True)
            self._kept[site] = len(mine) + len(together)

    def files(self) -> list[str]:
        """The files of rows, relative to the folder; those of other sites too."""
        return sorted(f"{FINISHED}/{path.name}" for path in self._rows.glob("*.json"))

    def _path(self, site: Site) -> Path:
        return self._rows / f"{site}.json"

    def _read_site(self, site: Site) -> Finished:
        path, wanted = self._path(site), self._settings[site]
        if not path.exists():
            return Finished()
        remedy = "Remove it, or give another folder."
        try:
            kept = read_json_object(path, error=OutputError, remedy=remedy)
            rows = tuple(_read(ScreenRow, row) for row in kept["rows"])
            counts = {site: RunCounts(**kept["counts"])} if "counts" in kept else {}
            found = Finished(rows, tuple(_read(PairRow, row) for row in kept["pairs"]), counts=counts)
            settings = dict(kept["settings"])
        except OutputError:
            raise
        except (ValueError, KeyError, TypeError, CodiError):
            raise OutputError(f"{path} cannot be read.", remedy) from None
        if settings != wanted:
            other = differing_key(settings, wanted)
            raise OutputError(
                f"{self._folder} holds a screen with {other} {settings.get(other)}, not {wanted.get(other)}.",
                "Give another folder, or the settings of that screen.",
            )
        self._kept[site] = len(found.rows) + len(found.pairs)
        return found

    def finish(self, document: dict[str, Any], rows: Sequence[ScreenRow], pairs: Sequence[PairRow] = ()) -> list[str]:
        """Write the finished screen: Parquet tables of its features and pairs, and the whole as JSON.

        Returns:
            the names of the files.
        """
        tables = {"screen": [plain_row(row) for row in rows], "pairs": [plain_row(row) for row in pairs]}
        return save_document(self._folder, "screen", document, tables)


def _read(kind: type[Row], row: dict[str, Any]) -> Row:
    return unflatten(kind, {**row, "site": Site.parse(row["site"])})
