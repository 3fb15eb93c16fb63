"""`codi-int pull`: a model, SAEs or a kept run from a model hub."""

from pathlib import Path
from typing import Annotated

import typer

from codi_int.cli import _options as o


def pull(
    repository: Annotated[str, typer.Argument(help="OWNER/NAME on the hub.")],
    out: Annotated[Path, o.output(metavar="FOLDER", help="Where it goes.")],
    revision: Annotated[
        str | None, o.where(metavar="NAME", help="A branch, tag or commit.  [default: the newest]")
    ] = None,
    force: Annotated[bool, o.output("--force", help="Write into a folder that holds files already.")] = False,
    as_json: o.Json = False,
) -> None:
    """Download a model, SAEs or a kept run from a model hub into a folder, and look whether it is whole.

    Example: codi-int pull me/codi-mini-saes --out saes
    """
    from codi_int.cli._console import print_json, progress
    from codi_int.report.literal import show_controls
    from codi_int.runs.hub import pull as download

    with progress(f"downloading {repository}"):
        came = download(repository, out, revision=revision, force=force)
    if as_json:
        print_json({"schema": "codi-int/pull@1", **came.to_dict()})
        return
    lines = [f"{came.kind}: {len(came.files):,} files in {came.url}, revision {came.revision}"]
    typer.echo(show_controls("\n".join([*lines, *(f"{name} {digest}" for name, digest in came.sha256)])))
