"""`codi-int push`: a model, SAEs or a kept run to a model hub."""

from typing import Annotated

import typer

from codi_int.cli import _complete
from codi_int.cli import _options as o


def push(
    what: Annotated[
        str,
        typer.Argument(
            help="A model or SAE by name or folder, a folder of SAEs, or of a kept run.", autocompletion=_complete.saes
        ),
    ],
    repository: Annotated[str, typer.Argument(help="OWNER/NAME on the hub; made where it is missing.")],
    private: Annotated[bool, o.where("--private", help="Where it is made: to be seen by its owner alone.")] = False,
    license: Annotated[
        str | None, o.output(metavar="NAME", help="For the card, such as mit.  [default: the card says none]")
    ] = None,
    as_json: o.Json = False,
) -> None:
    """Upload a model, SAEs or a kept run to a model hub, with a card written from what its files say.

    It takes the access token that huggingface_hub finds: HF_TOKEN, or what `hf auth login` has kept.
    Example: codi-int push saes/L14.P3 me/codi-mini-saes
    """
    from codi_int.cli._console import print_json, progress, tell
    from codi_int.report.literal import show_controls
    from codi_int.runs.hub import push as upload

    with progress(f"uploading {what} to {repository}"):
        sent = upload(what, repository, private=private, license=license)
    for note in sent.notes:
        tell(f"warning: {note}")
    if as_json:
        print_json({"schema": "codi-int/push@1", **sent.to_dict()})
        return
    lines = [f"{sent.kind}: {len(sent.files):,} files at {sent.url}"]
    typer.echo(show_controls("\n".join([*lines, *(f"{name} {digest}" for name, digest in sent.sha256)])))
