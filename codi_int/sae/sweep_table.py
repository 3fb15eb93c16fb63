"""A sweep as files: `grid.csv`, `grid.json` and `frequencies.safetensors`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from codi_int.files import replace_file, write_csv, write_json
from codi_int.sae.compare import GridPoint, published_front, strict_front
from codi_int.sae.grid import SweepRow
from codi_int.sae.spliced import SplicedMetrics
from codi_int.types import Site

TABLE, FREQUENCIES = "grid", "frequencies.safetensors"


def write_table(rows: Sequence[SweepRow], out: Path) -> None:
    """Write the rows of a sweep into `out`.

    - `grid.json`: a list with one object for each SAE, see `table_rows`; `grid.csv`: the same.
    - `frequencies.safetensors`: for each SAE one float32 tensor [d_sae] under the name that stands as `folder` in
      its row (such as `L14.P3/d512_k20_s0`): the share of held-out rows on which each feature fires, by feature.

    Raises:
        OutputError: a folder that cannot be written to.
    """
    table = table_rows(rows, out)
    write_json(out / f"{TABLE}.json", table, indent=2)
    write_csv(out / f"{TABLE}.csv", table, list(table[0]) if table else ["site"])
    # keyed by the SAE's folder, so that a row of the table finds its tensor
    frequencies = {_name(row, out): row.held_out.activation_frequency.contiguous() for row in rows}
    needs = sum(tensor.nbytes for tensor in frequencies.values())
    replace_file(out / FREQUENCIES, lambda part: save_file(frequencies, part), needs=needs)


def table_rows(rows: Sequence[SweepRow], out: Path) -> list[dict[str, Any]]:
    """One plain dict for each SAE.

    `site` `layer` `position` `d_sae` `k` `seed`; `dead_share_train`, `n_active_train` (features that fire on a
    training row) and `explained_variance_per_active_feature` (over those); the measures of `SAEMetrics` on held-out
    rows under their own names; `mean_nearest_cosine` and `mean_abs_cosine` of the decoder (null with one feature);
    `published_front` and `strict_front`, whether the SAE lies on that front of its site; where the SAE was spliced
    into the model (all rows or none) the measures of `SplicedMetrics` with `accuracy_recovered` and `loss_recovered`
    (null where undefined); and its `folder` below `out`.
    """
    published, strict = _fronts(rows, published_front), _fronts(rows, strict_front)
    with_splice = any(row.spliced for row in rows)
    return [
        {
            "site": str(row.site),
            "layer": row.site.layer,
            "position": row.site.position,
            "d_sae": row.d_sae,
            "k": row.k,
            "seed": row.seed,
            "dead_share_train": row.dead_share_train,
            "n_active_train": row.point().n_active,
            "explained_variance_per_active_feature": row.point().per_active_feature,
            **row.held_out.summary(),
            "mean_nearest_cosine": row.structure.mean_nearest if row.structure else None,
            "mean_abs_cosine": row.structure.mean_abs_cosine if row.structure else None,
            "published_front": number in published,
            "strict_front": number in strict,
            **(spliced_measures(row.spliced) if with_splice else {}),
            "folder": _name(row, out),
        }
        for number, row in enumerate(rows)
    ]


def spliced_measures(spliced: SplicedMetrics | None) -> dict[str, int | float | None]:
    """The measures of a spliced-in SAE by name; all None where none was spliced in."""
    names = (*SplicedMetrics.__dataclass_fields__, "accuracy_recovered", "loss_recovered")
    return {"n_problems_spliced" if name == "n_problems" else name: getattr(spliced, name, None) for name in names}


def _fronts(rows: Sequence[SweepRow], front: Any) -> set[int]:
    """Numbers of the rows that lie on the front of their own site."""
    by_site: dict[Site, dict[int, GridPoint]] = {}
    for number, row in enumerate(rows):
        by_site.setdefault(row.site, {})[number] = row.point()
    kept: set[int] = set()
    for points in by_site.values():
        best = front(tuple(points.values()))
        kept |= {number for number, point in points.items() if point in best}
    return kept


def _name(row: SweepRow, out: Path) -> str:
    return row.folder.relative_to(out).as_posix()
