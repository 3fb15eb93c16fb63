"""Tables of SAEs as people read them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from codi_int.cli._fitting import Column, FittedTable, Page, table
from codi_int.cli._literal import Text
from codi_int.cli._numbers import amount, counted, fixed, interval_text, nats, percentage
from codi_int.cli._tables import note_lines
from codi_int.sae.base import SAE
from codi_int.sae.evaluate import EvaluatedSAE, SAEEvaluation
from codi_int.sae.grid import SweepRow
from codi_int.sae.site_sweep import SweepPlan
from codi_int.sae.spliced import SplicedMetrics
from codi_int.sae.stability import SHARED_FROM
from codi_int.sae.sweep_table import table_rows
from codi_int.sae.transcoding import RidgeComparison
from codi_int.types import Site

NAME_WIDTH = 24
MOST_ROWS = 60
"""more than these nobody reads on a terminal; one for each site then, the files hold all"""


def sweep_page(plan: SweepPlan, rows: Sequence[SweepRow], model: str) -> Page:
    """The grid as a table with both fronts."""
    entries = table_rows(rows, plan.out)
    shown = list(range(len(rows)))
    parts: list[RenderableType] = []
    if len(rows) > MOST_ROWS:
        shown = best_of_sites(rows)
        parts = [Text(f"The SAE of largest EV at each site; all {len(rows):,} are in {plan.out}."), ""]
    head = Text(f"{counted(len(rows), 'TopK SAE')} at {_sites(rows)} of {model}", style="bold")
    head.append(
        f"\n{counted(len(plan.training), 'row')} of {plan.training_name}, {counted(plan.grid.recipe.epochs, 'epoch')}"
        f" · measured on {counted(len(plan.held_out), 'row')} of {plan.held_out_name}",
        style="not bold",
    )
    published, strict = (sum(entry[f"{name}_front"] for entry in entries) for name in ("published", "strict"))
    lie = "lies" if published == 1 else "lie"
    fronts = f"{published:,} of {len(rows):,} {lie} on the published front (P), {strict:,} on the strict one (S)."
    meaning = (
        "EV: explained variance; by dim: each dimension about its own mean. dead, held-out: features that fire on no "
        "training row, on no held-out row. EV/act: EV per feature that fires on a training row. P: no SAE of the site "
        "has a larger EV at a smaller K. S: none is at least as good in EV, K, d_sae and dead share, and better in one."
    )
    if any(row.spliced for row in rows):
        meaning += " right, nats: accuracy and change of the clean answer's log-probability with the SAE spliced in."
    grid = _grid(rows, entries, shown)
    return Page(head, "", *parts, grid, "", Text(fronts, style="bold"), Text(meaning, style="dim"))


def best_of_sites(rows: Sequence[SweepRow]) -> list[int]:
    """For each site the number of the row with the largest explained variance."""
    best: dict[Site, int] = {}
    for i, row in enumerate(rows):
        # `setdefault` makes the first row of a site its best so far; `>` keeps the first of equal ones
        if row.held_out.explained_variance > rows[best.setdefault(row.site, i)].held_out.explained_variance:
            best[row.site] = i
    return list(best.values())


def _sites(rows: Sequence[SweepRow]) -> str:
    sites = list(dict.fromkeys(str(row.site) for row in rows))
    return sites[0] if len(sites) == 1 else f"{len(sites)} sites ({sites[0]} to {sites[-1]})"


def _grid(rows: Sequence[SweepRow], entries: Sequence[dict[str, object]], shown: Sequence[int]) -> FittedTable:
    sites, seeds = {row.site for row in rows}, {row.seed for row in rows}
    spliced = (Column("right %", rank=1), Column("nats", rank=1)) if any(row.spliced for row in rows) else ()
    out = table(
        "SAE",
        "EV",
        Column("by dim", rank=5),
        Column("MSE", rank=6),
        Column("dead %", rank=2),
        Column("held-out %", rank=3),
        Column("max act", rank=7),
        Column("EV/act %", rank=4),
        *spliced,
        "front",
    )
    for i in shown:
        row, entry = rows[i], entries[i]
        # several sites or seeds make names longer; where there is one, the heading has said it already
        name = f"{row.site} " * (len(sites) > 1) + f"d{row.d_sae} K{row.k}" + f" s{row.seed}" * (len(seeds) > 1)
        # where only some rows were spliced the columns stand for all, and the cells of the others are empty
        costs = ("", "")
        if row.spliced is not None:
            costs = (percentage(row.spliced.accuracy_spliced), nats(_change(row.spliced)))
        out.add_row(
            name,
            fixed(row.held_out.explained_variance, 4),
            fixed(row.held_out.explained_variance_per_dimension, 4),
            amount(row.held_out.mse),
            percentage(row.dead_share_train),
            percentage(row.held_out.dead_share),
            amount(row.held_out.max_activation),
            _small(row.point().per_active_feature),
            *costs[: len(spliced)],
            f"{'P' if entry['published_front'] else ' '} {'S' if entry['strict_front'] else ' '}",
        )
    return out


def _change(spliced: SplicedMetrics) -> float:
    return spliced.logprob_spliced - spliced.logprob_clean


def ridge_table(found: Mapping[str, RidgeComparison]) -> tuple[RenderableType, ...]:
    """Transcoders beside ridge regression; names stand in the table where there are several."""
    named = len(found) > 1
    out = table(
        *("transcoder",) * named,
        Column("from", text=True),
        Column("to", text=True),
        "K",
        "EV by dim",
        "rank K",
        Column("less that", rank=1),
        Column("95% interval", rank=3, name="interval of less that"),
        "ridge",
        Column("less that", rank=2, name="less ridge"),
        Column("95% interval", rank=4, name="interval of less ridge"),
    )
    for name, one in found.items():
        out.add_row(
            *(name,) * named,
            str(one.source or "-"),
            str(one.target or "-"),
            str(one.k),
            fixed(one.explained, 4),
            fixed(one.of_rank_k, 4),
            _signed(one.over_rank_k.value),
            interval_text(one.over_rank_k.low, one.over_rank_k.high, _signed),
            fixed(one.of_ridge, 4),
            _signed(one.over_ridge.value),
            interval_text(one.over_ridge.low, one.over_ridge.high, _signed),
        )
    words = (
        "K: features per row of the transcoder on these rows. rank K: ridge regression cut to as many directions, the "
        "same for every row; ridge: as it is. less that: the transcoder's less it, and the interval by bootstrap of "
        "these problems, whole calculations."
    )
    return out, "", Text(words, style="dim")


def _signed(difference: float) -> str:
    return fixed(difference, 4, sign="+")


def evaluation_page(found: SAEEvaluation) -> Page:
    """All measures of some SAEs."""
    names = short_names([sae.name for sae in found.saes])
    n_rows = found.saes[0].held_out.n_rows
    head = Text(
        f"{counted(len(found.saes), 'SAE')} of {found.model} on {counted(n_rows, 'row')} of {found.held_out}",
        style="bold",
    )
    parts: list[RenderableType] = [head, "", _quality(found.saes, names), "", _features(found, names)]
    if any(sae.spliced for sae in found.saes):
        parts += ["", _costs(found.saes, names)]
    if ridges := {names[sae.name]: sae.ridge for sae in found.saes if sae.ridge is not None}:
        parts += ["", *ridge_table(ridges)]
    if found.stability:
        parts += ["", _stability(found, names)]
    parts += [part for line in note_lines(found.notes) for part in ("", line)]
    return Page(*parts, "", Text(_words(found), style="dim"))


def _words(found: SAEEvaluation) -> str:
    """What the columns mean."""
    words = [
        "EV: explained variance; by dim: each dimension about its own mean. dead, held-out: features that fire on no "
        "training row, on no held-out row. EV/act: EV per alive feature (one that fires on a training row). nearest: "
        "mean over features of the largest cosine with another decoder row; |cos|: mean over all pairs."
    ]
    if found.times_matryoshka():
        words.append("/ Matr.: EV per alive feature, divided by that of the first Matryoshka SAE of the site.")
    if any(sae.spliced for sae in found.saes):
        words.append(
            "clean, mean: the model as it is, and with the mean activation spliced in. recovered: where the SAE lies "
            "between the mean (0) and clean (100), for accuracy and for the clean answer's log-probability."
        )
    if found.stability:
        words.append(
            "cosine: decoder rows of two SAEs matched one to one; of alive: over features that fire on held-out rows; "
            "by chance: against random directions."
        )
    return " ".join(words)


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Names by their last two parts, or the last one where those are long; whole where that is not unique."""
    short = {name: "/".join(Path(name).parts[-2:]) for name in names}
    short = {name: text if len(text) <= NAME_WIDTH else Path(name).name for name, text in short.items()}
    # two SAEs under one short name would be one row in a reader's eyes: then all keep their whole names
    return short if len(set(short.values())) == len(names) else {name: name for name in names}


def _quality(saes: Sequence[EvaluatedSAE], names: dict[str, str]) -> FittedTable:
    out = table(
        "reconstruction",
        Column("d_sae", rank=3),
        Column("K", rank=2),
        "EV",
        Column("by dim", rank=1),
        Column("MSE", rank=4),
        Column("L0", rank=7),
        Column("mean act", rank=6),
        Column("max act", rank=5),
    )
    for sae in saes:
        m = sae.held_out
        out.add_row(
            names[sae.name],
            f"{sae.d_sae:,}",
            str(sae.k or "-"),
            fixed(m.explained_variance, 4),
            fixed(m.explained_variance_per_dimension, 4),
            amount(m.mse),
            fixed(m.l0, 1),
            amount(m.mean_activation),
            amount(m.max_activation),
        )
    return out


def _features(found: SAEEvaluation, names: dict[str, str]) -> FittedTable:
    times = found.times_matryoshka()
    out = table(
        "features",
        Column("trained as", rank=5),
        Column("dead %", rank=1),
        Column("held-out", rank=2, name="dead held-out"),
        "alive",
        "EV/act %",
        *((Column("/ Matr.", rank=3),) if times else ()),
        Column("nearest", rank=4),
        Column("|cos|", rank=6),
    )
    for sae in found.saes:
        point, structure, ratio = sae.point(), sae.structure, times.get(sae.name)
        out.add_row(
            names[sae.name],
            sae.trained_as,
            # "-" where training rows were not given: dead on training rows is unknown then, not zero
            percentage(sae.train.dead_share) if sae.train else "-",
            percentage(sae.held_out.dead_share),
            f"{point.n_active:,}",
            _small(point.per_active_feature),
            *(("-" if ratio is None else fixed(ratio, 2),) if times else ()),
            fixed(structure.mean_nearest, 3) if structure else "-",
            fixed(structure.mean_abs_cosine, 3) if structure else "-",
        )
    return out


def _costs(saes: Sequence[EvaluatedSAE], names: dict[str, str]) -> FittedTable:
    out = table(
        "spliced in",
        "right %",
        Column("clean", rank=1, name="right % clean"),
        Column("mean", rank=4, name="right % of mean"),
        Column("recovered %", rank=2, name="accuracy recovered %"),
        "nats",
        Column("of mean", rank=4, name="nats of mean"),
        Column("recovered %", rank=3, name="nats recovered %"),
    )
    for sae in saes:
        s = sae.spliced
        if s is not None:
            out.add_row(
                names[sae.name],
                percentage(s.accuracy_spliced),
                percentage(s.accuracy_clean),
                percentage(s.accuracy_mean),
                recovered(s.accuracy_recovered),
                nats(s.logprob_spliced - s.logprob_clean),
                nats(s.logprob_mean - s.logprob_clean),
                recovered(s.loss_recovered),
            )
    return out


def _stability(found: SAEEvaluation, names: dict[str, str]) -> FittedTable:
    out = table(
        "the same but for the seed",
        Column("and", text=True),
        Column("cosine", rank=2),
        "of alive",
        Column(f"alive >= {SHARED_FROM} %", rank=1),
        "by chance",
    )
    # cosines of matched rows grow with the number of candidates alone, so chance stands in the last column
    for pair in found.stability:
        out.add_row(
            names[pair.first],
            names[pair.second],
            fixed(pair.mean, 3),
            fixed(pair.mean_alive, 3),
            percentage(pair.share_alive),
            fixed(pair.mean_chance, 3),
        )
    return out


def _small(part: float) -> str:
    """A small share in percent: explained variance per feature."""
    return percentage(part, 3)


def recovered(part: float | None) -> str:
    """Where a value lies between two ends, in percent; `-` where the ends are equal."""
    return "-" if part is None else percentage(part)


def file_document(sae: SAE, out: Path) -> dict[str, Any]:
    """What an SAE that was imported or exported is, as plain JSON types."""
    config, known = sae.config, sae.config.provenance
    return {
        "schema": "codi-int/sae-file@1",
        "folder": str(out),
        "architecture": config.architecture,
        "rule": config.rule if config.architecture == "topk" else None,
        "d_in": sae.d_in,
        "d_sae": sae.d_sae,
        "k": config.k,
        "site": str(known.site) if known.site else known.hook_name,
        **({} if not sae.is_transcoder else {"rebuilds": str(known.target) if known.target else None}),
        "model": known.model,
        "sha256": sae.sha256,
    }


def file_page(document: Mapping[str, Any]) -> FittedTable:
    """The same as a table, a fact a row."""
    out = table("SAE", Column("", text=True))
    for key, value in document.items():
        if key == "schema":
            continue
        # digits of a hash that tell it from another; more do not fit beside their name
        shown = value[:12] if key == "sha256" else f"{value:,}" if isinstance(value, int) else str(value)
        out.add_row("SHA-256 begins" if key == "sha256" else key, "unknown" if value is None else shown)
    return out
