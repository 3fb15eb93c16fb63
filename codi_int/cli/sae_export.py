"""`codi-int sae export`: an SAE for other tools."""

from pathlib import Path
from typing import Annotated

import typer

from codi_int.cli import _choices as c
from codi_int.cli import _complete
from codi_int.cli import _options as o
from codi_int.cli._console import tell
from codi_int.cli._job import keep_sae, sae_folder, show
from codi_int.errors import ConfigError


def export_sae(
    sae: Annotated[str, typer.Argument(help="A shipped SAE or a folder.", autocompletion=_complete.saes)],
    out: Annotated[Path, o.output(metavar="PATH", help="Folder for saelens; for published the .pt file.")],
    format: Annotated[c.SAEFormat, o.output("--format", help="published is a .pt file.")] = "saelens",
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Write an SAE in SAELens' format or in the published layout.

    Example: codi-int sae export codi-mini/L14.P3 --format published --out L14.P3.pt
    """
    from codi_int.cli._sae_pages import file_document, file_page
    from codi_int.sae.published import export_published, published_site
    from codi_int.sae.store import load_sae

    found = load_sae(sae)
    if format == "published":
        if out.suffix != ".pt":
            raise ConfigError(f"--out {out} is no .pt file.", "The published layout is one file, such as L14.P3.pt.")
        export_published(found, out)
        # that layout has a position and a layer and nothing else: the site of a fed thought cannot be written in it
        if found.site is not None and not published_site(found.site):
            tell(f"warning: the published layout has no words for {found.site}; it was left out.")
    else:
        keep_sae(found, sae_folder(out, sae, force))
    document = file_document(found, out)
    show(lambda: document, lambda: file_page(document), as_json)
