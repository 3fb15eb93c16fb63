"""`codi-int sae import`: an SAE from elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codi_int.cli import _choices as c
from codi_int.cli import _complete
from codi_int.cli import _options as o
from codi_int.cli._console import progress
from codi_int.cli._job import keep_sae, sae_folder, show
from codi_int.errors import SAEError

if TYPE_CHECKING:
    from codi_int.sae.base import SAE


def import_sae(
    source: Annotated[Path, typer.Argument(help="A published .pt checkpoint, or a folder of SAELens, any version.")],
    out: Annotated[Path, o.output(metavar="FOLDER", help="Folder of the SAE, in SAELens' format.")],
    rule: Annotated[c.KeepRule, o.what(help="How a .pt file keeps features; abs as in the published code.")] = "abs",
    model: Annotated[
        str | None,
        o.where(
            metavar="NAME",
            help="The model it belongs to; checked, and its hash is noted.  [default: as it says]",
            autocompletion=_complete.models,
        ),
    ] = None,
    layer: o.OwnLayer = None,
    position: o.OwnPosition = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Bring an SAE into a folder that every command takes.

    Example: codi-int sae import pos3_layer14_d512_k100.pt --out saes/L14.P3
    """
    from codi_int.cli._sae_pages import file_document, file_page

    with progress(f"loading {source}"):
        folder = sae_folder(out, str(source), force)
        sae = _imported(source, rule, model, (layer, position))
    keep_sae(sae, folder)
    document = file_document(sae, out)
    show(lambda: document, lambda: file_page(document), as_json)


def _imported(source: Path, rule: str, model: str | None, place: tuple[int | None, int | None]) -> "SAE":
    """The SAE with a note of where it belongs."""
    from codi_int.sae.evaluate import site_of
    from codi_int.sae.published import import_published
    from codi_int.sae.store import load_sae

    sae = load_sae(source) if source.is_dir() else import_published(source, rule)
    if place != (None, None):
        site = site_of(str(source), sae, *place)
        # a site in the file is a fact, one on the command line a claim: where both are there they have to agree
        if sae.site not in (None, site):
            raise SAEError(f"{source} was trained at {sae.site}, not at {site}.", "Leave --layer and --position out.")
        sae.annotate(site=site)
    if model is not None:
        _belongs(sae, model)
    return sae


def _belongs(sae: "SAE", name: str) -> None:
    """Note the model; SAEError where the SAE cannot belong to it."""
    from codi_int.model.loading import load_model
    from codi_int.sae.base import check_fits

    model = load_model(name)
    if sae.site is not None:
        check_fits(sae, model, model.check_site(sae.site))
    # without a site only the width can be compared; a wrong width would fail much later, inside an edit
    elif sae.d_in != model.d_model:
        raise SAEError(
            f"The SAE was trained on activations of width {sae.d_in}; d_model of {model.name} is {model.d_model}.",
            "Name the model that it was trained on.",
        )
    # the hash and not the name alone: a model that is trained on keeps its name, and the SAE would no longer fit
    sae.annotate(model=model.name, model_sha256=model.sha256)
