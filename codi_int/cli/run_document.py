"""`codi-int run`: an experiment that was written down beforehand."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from codi_int.cli import _options as o
from codi_int.errors import ConfigError


def run_document(
    document: Annotated[Path, typer.Argument(help="A JSON file that --as-document of a command has printed.")],
    out: o.Out = None,
    force: o.Force = False,
    device: Annotated[str | None, o.where(help="cpu, cuda, cuda:1, ...  [default: cpu]", metavar="NAME")] = None,
    as_json: o.Json = False,
    plan: o.Plan = False,
) -> None:
    """Run an experiment that was written down beforehand, as a command prints it with --as-document.

    Example: codi-int run experiment.json --out runs/449
    """
    from codi_int.cli._document import read_document
    from codi_int.cli.main import option_classes, run_words
    from codi_int.files import read_json_object

    found = read_json_object(document, remedy="Write one with --as-document.")
    kinds = option_classes()
    words = read_document(found, kinds, str(document))
    if plan and not any(one.name == "plan" for one in fields(kinds[found["command"]])):
        able = ", ".join(name for name, kind in kinds.items() if any(one.name == "plan" for one in fields(kind)))
        raise ConfigError(f"{document} is of {found['command']}, which has no --plan.", f"These have: {able}.")
    command = len(str(found["command"]).split())
    here = [
        *(["--out", str(out)] if out else []),
        *(["--device", device] if device else []),
        *(["--force"] if force else []),
        *(["--json"] if as_json else []),
        *(["--plan"] if plan else []),
    ]
    # before the arguments, which stand last
    code = run_words([*words[:command], *here, *words[command:]])
    if code:
        raise typer.Exit(code)
