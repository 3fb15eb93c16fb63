"""Transcoders beside ridge regression of the same rank and as it is, on held-out stories: docs/results/transcoders.md.

    python benchmarks/transcoders.py

Each is `codi-int sae train --architecture transcoder` with the sites and K of its row; activations of resid_post are
read from runs/curves, where specialization_curves.py puts them.
"""

import time
from typing import Any

import _common as common
import specialization_curves as curves
import torch

from codi_int.records import flatten
from codi_int.sae import SAETrainingConfig, train_sae
from codi_int.sae.metrics import measure
from codi_int.sae.transcoding import Rows, compare_with_ridge
from codi_int.types import Site, SiteActivations

PAGE = common.DOCS_RESULTS / "transcoders.md"
PAIRS = (
    (Site(14, 3), Site(14, 4)),
    (Site(None, 3, "thought"), Site(None, 4, "thought")),
    (Site(10, 3), Site(14, 3)),
    (Site(3, 3), Site(3, 4)),
)
KS, EPOCHS = (5, 16, 48), 25


class Activations:
    """Rows of a site, by the captures or, of thoughts, by the model."""

    def __init__(self, quick: bool) -> None:
        self.rows = curves.Rows(quick)
        self._thoughts: dict[str, torch.Tensor] = {}

    def at(self, site: Site, name: str) -> torch.Tensor:
        if site.layer is not None:
            return self.rows.at(site, name)
        if name not in self._thoughts:
            self._thoughts[name] = self.rows.model.think(self.rows.problems[name]).thoughts
        # thought 1 is fed at position 1: what is made at position p is the thought of position p + 1
        return self._thoughts[name][:, site.position]


def run(source: Site, target: Site, k: int, data: Activations, epochs: int) -> dict[str, Any]:
    rows = {name: Rows(data.at(source, name), data.at(target, name)) for name in ("train", "held-out")}
    train, held_out = rows["train"], rows["held-out"]
    recipe = SAETrainingConfig(d_sae=512, k=k, architecture="transcoder", epochs=epochs)
    started = time.process_time()
    sae = train_sae(
        SiteActivations(source, (), train.read), recipe, target=SiteActivations(target, (), train.target)
    ).sae
    seconds = time.process_time() - started
    found = compare_with_ridge(sae, train, held_out, data.rows.problems["held-out"])
    dead = measure(sae, train.read, train.target).dead_share
    out = {"from": str(source), "to": str(target), "seconds": seconds, "dead_share": dead, **flatten(found)}
    print(out, flush=True)
    return out | {"source": str(source), "target": str(target)}


def table(rows: list[dict[str, Any]]) -> list[str]:
    heads = "from | to | K | transcoder % | ridge of rank K % | less it, points | ridge % | less it, points | dead %"
    lines = [f"| {heads} |", "|---|---|---|---|---|---|---|---|---|"]
    for row in rows:

        def less(name: str, row: dict[str, Any] = row) -> str:
            value, low, high = (100 * row[f"{name}_{part}"] for part in ("estimate", "low", "high"))
            return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"

        lines.append(
            f"| {row['from']} | {row['to']} | {row['k']} | {100 * row['explained']:.1f} | "
            f"{100 * row['of_rank_k']:.1f} | {less('over_rank_k')} | {100 * row['of_ridge']:.1f} | "
            f"{less('over_ridge')} | {100 * row['dead_share']:.0f} |"
        )
    return lines


def main() -> None:
    options = common.arguments(__doc__).parse_args()
    data, pairs = Activations(options.quick), PAIRS[: 1 if options.quick else None]
    rows = [run(*pair, k, data, 2 if options.quick else EPOCHS) for pair in pairs for k in KS]
    common.write("transcoders", {"rows": rows}, options.quick)
    lines = table(rows)
    print("\n".join(lines))
    if not options.quick:
        common.fill_page(PAGE, "transcoders", "\n".join(lines), code=False)


if __name__ == "__main__":
    main()
