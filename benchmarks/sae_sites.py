"""codi-mini's SAEs, one for each of its 112 sites: packed from a sweep, and measured as they ship.

    codi-int sae sweep --layer 0-15 --position 0-6 --k 16 --features 512 --out runs/sites
    python benchmarks/sae_sites.py --pack runs/sites     # writes codi_int/assets/codi-mini/sae/sites.*
    python benchmarks/sae_sites.py                       # writes docs/results/sae-sites.csv, prints its tables
    python benchmarks/sae_sites.py --again               # prints them from that file

What is packed is measured on `stories:validation` before and after it is rounded to 16 bits. The accuracy is that of
the model with the SAE's reconstruction in the activation's place.
"""

import argparse
import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import codi_int as ci
from codi_int.catalog import ASSETS
from codi_int.sae.base import SAE
from codi_int.sae.captures import open_capture
from codi_int.sae.compact import STACK_FILE, rounded, save_compact
from codi_int.sae.metrics import measure

SAES = ASSETS / "codi-mini" / "sae"
TABLE = Path(__file__).parents[1] / "docs" / "results" / "sae-sites.csv"
SHAPE = "d512_k16_s0"
BY_ITSELF = ci.Site(14, 3)
"""ships in a folder of its own, as it always did"""
UNROUNDED = "explained_variance_unrounded"
N_LAYERS, N_POSITIONS = 16, 7


@dataclass(frozen=True)
class Row:
    """One site."""

    site: str
    """such as L10.P5"""
    explained_variance: float
    """as it ships"""
    lost_by_rounding: float
    """explained variance before it was rounded, in 32 bits, minus that behind it, on the same rows"""
    explained_variance_per_dimension: float
    """as it ships, each dimension about its own mean"""
    mse: float
    """mean squared error per entry"""
    l0: float
    """features per row"""
    dead_share_train: float
    """share of features that fire on no training row"""
    dead_share: float
    """the same on held-out rows"""
    accuracy_spliced: float
    """of the model with the reconstruction in place"""
    accuracy_clean: float
    """of the model as it is"""
    logprob_change: float
    """of the clean answer with the reconstruction in place, in nats, mean over problems"""


def sites() -> list[ci.Site]:
    return [ci.Site(layer, position) for layer in range(N_LAYERS) for position in range(N_POSITIONS)]


def pack(sweep: Path) -> None:
    """Round and measure what a sweep has trained, and write it among the assets."""
    held_out = open_capture(sweep / "activations" / "held-out")
    saes = []
    for site in sites():
        if site == BY_ITSELF:
            continue
        sae, rows = ci.load_sae(sweep / str(site) / SHAPE), held_out.at(site).values
        before = measure(sae, rows).explained_variance
        known = sae.config.provenance.measures
        found = measure(rounded(sae), rows).summary()
        sae.annotate(measures={**known, **found, UNROUNDED: before})
        saes.append(sae)
    save_compact(saes, SAES)
    print(f"{len(saes)} SAEs, {(SAES / STACK_FILE).stat().st_size / 1e6:.2f} MB")


def measure_all(limit: int | None) -> list[Row]:
    """Every shipped SAE on held-out stories, all of them on one clean pass."""
    model, problems = ci.load_model("codi-mini"), ci.load_problems("stories:validation", limit=limit)
    saes = {site: ci.load_sae(f"codi-mini/{site}") for site in sites()}
    batch = model.think(problems, capture=sites())
    # nothing reads the last block of the last position: what stands there costs nothing, and the engine refuses it
    idle = ci.Site(N_LAYERS - 1, N_POSITIONS - 1)
    engine = ci.FeatureInterventionEngine(model, {site: sae for site, sae in saes.items() if site != idle})
    rows = []
    for site, sae in saes.items():
        found, known = measure(sae, batch.at(site).values).summary(), sae.config.provenance.measures
        result = None if site == idle else engine.run(ci.Ablate(0), problems, controls=None, site=site)
        arm = "clean" if site == idle else "reconstructed"
        arms = result.arms if result else {}
        rows.append(
            Row(
                site=str(site),
                explained_variance=found["explained_variance"],
                lost_by_rounding=known[UNROUNDED] - known["explained_variance"] if UNROUNDED in known else 0.0,
                explained_variance_per_dimension=found["explained_variance_per_dimension"],
                mse=found["mse"],
                l0=found["l0"],
                dead_share_train=known.get("dead_share_train") or dead_in_training(model, sae, site),
                dead_share=found["dead_share"],
                accuracy_spliced=arms[arm].accuracy if result else rows[0].accuracy_clean,
                accuracy_clean=arms["clean"].accuracy if result else rows[0].accuracy_clean,
                logprob_change=logprob_change(result) if result else 0.0,
            )
        )
        print(f"\r{len(rows)} of {len(saes)}", end="", flush=True)
    print()
    return rows


def dead_in_training(model: ci.CodiModel, sae: SAE, site: ci.Site) -> float:
    """Share of features that fire on no row that the SAE was trained on, where its file does not say."""
    return measure(sae, model.think(ci.load_problems("stories:sae"), capture=[site]).at(site).values).dead_share


def logprob_change(result: ci.Result) -> float:
    """Mean change of the clean answer's log-probability under the reconstruction."""
    pairs = zip(result.outcomes["reconstructed"], result.outcomes["clean"], strict=True)
    changes = [spliced.answer_logprob - clean.answer_logprob for spliced, clean in pairs]
    return sum(changes) / len(changes)


def grid(rows: Sequence[Row], title: str, cell: Callable[[Row], str]) -> None:
    """One measure by layer and position, in Markdown."""
    by_site = {row.site: row for row in rows}
    print(f"\n{title}\n\n| layer | {' | '.join(f'P{position}' for position in range(N_POSITIONS))} |")
    print(f"|---|{'---|' * N_POSITIONS}")
    for layer in range(N_LAYERS):
        print(f"| {layer} | {' | '.join(cell(by_site[f'L{layer}.P{p}']) for p in range(N_POSITIONS))} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, metavar="SWEEP", help="pack what this sweep has trained")
    parser.add_argument("--limit", type=int, help="only the first so many problems; writes no table")
    parser.add_argument("--again", action="store_true", help="print the tables of the last run")
    given = parser.parse_args()
    if given.pack:
        pack(given.pack)
        return
    if given.again:
        print_tables(read_rows())
        return
    rows = measure_all(given.limit)
    if given.limit is None:
        with TABLE.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(
                {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in asdict(row).items()} for row in rows
            )
    print_tables(rows)


def read_rows() -> list[Row]:
    """What the last run has measured."""
    with TABLE.open(newline="") as file:
        return [Row(**{k: v if k == "site" else float(v) for k, v in row.items()}) for row in csv.DictReader(file)]


def print_tables(rows: Sequence[Row]) -> None:
    """What docs/results/sae-sites.md holds."""
    lost, worst = [row.lost_by_rounding for row in rows], max(rows, key=lambda row: abs(row.lost_by_rounding))
    print(f"Rounding changes the explained variance by {-sum(lost) / len(lost):+.1e} in the mean, and by at most")
    print(f"{-worst.lost_by_rounding:+.1e} ({worst.site}).")
    grid(rows, "Explained variance", lambda row: f"{row.explained_variance:.3f}")
    grid(
        rows,
        "Explained variance, each dimension about its own mean",
        lambda row: f"{row.explained_variance_per_dimension:.3f}",
    )
    grid(rows, "Dead features on training rows (%)", lambda row: f"{100 * row.dead_share_train:.0f}")
    grid(rows, "Accuracy with the reconstruction in place (%)", lambda row: f"{100 * row.accuracy_spliced:.1f}")
    grid(
        rows,
        "Explained variance lost by rounding (millionths)",
        lambda row: f"{1e6 * row.lost_by_rounding:z.0f}",
    )


if __name__ == "__main__":
    main()
