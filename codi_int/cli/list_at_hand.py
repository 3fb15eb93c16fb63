"""`codi-int list`: models, SAEs and data at hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import RenderableType

from codi_int.catalog import SAES_FOLDER
from codi_int.cli import _complete
from codi_int.cli import _options as o
from codi_int.cli._fitting import Column, FittedTable, Page, table
from codi_int.cli._job import show
from codi_int.cli._literal import Text
from codi_int.cli._numbers import percentage

if TYPE_CHECKING:
    from codi_int.report.inventory import DataEntry, Inventory, ModelEntry, SAEEntry


def list_at_hand(
    model: Annotated[
        list[str] | None,
        o.where(
            metavar="FOLDER",
            help="Also the model in this folder, with its SAEs.  [default: shipped and downloaded ones]",
            autocompletion=_complete.models,
        ),
    ] = None,
    sae: Annotated[
        list[str] | None,
        o.where(
            metavar="FOLDER",
            help="Also the SAEs in this folder.  [default: saes/, where it exists]",
            autocompletion=_complete.saes,
        ),
    ] = None,
    as_json: o.Json = False,
) -> None:
    """Models, SAEs and data at hand: how large they are, where they lie, how good they are.

    Example: codi-int list --sae runs/sweep
    """
    from codi_int.report.inventory import take_inventory

    own = [SAES_FOLDER] if not sae and Path(SAES_FOLDER).is_dir() and any(Path(SAES_FOLDER).iterdir()) else []
    found = take_inventory(model or (), sae or own)
    show(found.to_dict, lambda: list_page(found), as_json)


def list_page(found: "Inventory") -> Page:
    """Models in words, SAEs and data in tables."""
    parts: list[RenderableType] = []
    for model in found.models:
        parts += [*_model(model), ""]
    parts += [_saes(found.saes), "", _data(found.data), ""]
    return Page(*parts, Text("Give a name as --model, --sae or --data.", style="dim"))


def _model(model: "ModelEntry") -> tuple[Text, ...]:
    size = f"{model.n_layers} layers, width {model.d_model}, {model.n_thoughts} thoughts, {_size(model.bytes)}"
    known = model.accuracy is not None and model.n_problems is not None
    right = (
        f"right on {percentage(model.accuracy or 0)} % of {model.n_problems:,} problems of {model.measured_on}"
        if known
        else f"nobody measured it: codi-int eval --model {model.name}"
    )
    return Text(f"model {model.name}", style="bold"), Text(f"{size} · {right}"), Text(model.folder, style="dim")


def _saes(saes: "Sequence[SAEEntry]") -> FittedTable:
    out = table(
        "SAE",
        Column("site", text=True),
        "features",
        Column("k", rank=1),
        "explained",
        Column("dead", rank=2),
        Column("size", rank=3),
    )
    for folder in dict.fromkeys(sae.folder for sae in saes):
        together = [sae for sae in saes if sae.folder == folder]
        if len(together) > 1:
            out.add_row(*_of_many(together))
            continue
        (sae,) = together
        out.add_row(
            sae.name,
            sae.site or "unknown",
            "-" if sae.d_sae is None else f"{sae.d_sae:,}",
            "-" if sae.k is None else str(sae.k),
            _percent(sae.explained_variance),
            _percent(sae.dead_share),
            _size(sae.bytes),
        )
    return out


def _of_many(saes: "Sequence[SAEEntry]") -> tuple[str, ...]:
    """One row for the SAEs that share a file: they differ in their site, and in how good they are there."""
    explained = [sae.explained_variance for sae in saes if sae.explained_variance is not None]
    dead = [sae.dead_share for sae in saes if sae.dead_share is not None]
    first = saes[0]
    return (
        f"{first.name.split('/')[0]}/L*.P*",
        f"{len(saes)} sites",
        "-" if first.d_sae is None else f"{first.d_sae:,}",
        "-" if first.k is None else str(first.k),
        _range(explained),
        _range(dead),
        _size(sum(sae.bytes for sae in saes)),
    )


def _range(shares: "Sequence[float]") -> str:
    return f"{percentage(min(shares))}-{_percent(max(shares))}" if shares else "-"


def _data(sets: "Sequence[DataEntry]") -> FittedTable:
    out = table("data", "problems", Column("where", text=True))
    for one in sets:
        where = "generated" if one.source == "generated" else f"hub: {one.source}{' (here)' if one.at_hand else ''}"
        endless = "no end" if one.source == "generated" else "-"
        out.add_row(one.name, endless if one.n_problems is None else f"{one.n_problems:,}", where)
    return out


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{percentage(share)} %"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.1f} MiB"
