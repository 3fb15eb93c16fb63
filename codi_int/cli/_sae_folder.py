"""An SAE that is put into a folder as it is, by the one rule for `--out`. Loaded when it runs."""

from pathlib import Path

from codi_int.cli._job import command_line
from codi_int.cli._lazy import called
from codi_int.run_folder import Run, RunFolder
from codi_int.sae.base import SAE
from codi_int.sae.store import CONFIG_FILE, WEIGHTS_FILE, save_sae


def sae_folder(out: Path, source: str, force: bool) -> RunFolder:
    """The folder, asked before anything is loaded.

    Args:
        out: where the SAE goes.
        source: where it comes from, as it was typed.
        force: whether another run is replaced.

    Raises:
        OutputError: the folder holds another run.
    """
    folder = RunFolder(out, Run(called(), names={"the source": source}, words=tuple(command_line())), force)
    folder.check()
    return folder


def keep_sae(sae: SAE, folder: RunFolder) -> None:
    """Save it there, in the place of another one where that is forced; OutputError where another one lies there."""
    assert folder.path is not None
    folder.claim(sae=sae.sha256)
    save_sae(sae, folder.path)
    folder.clear(keep=(CONFIG_FILE, WEIGHTS_FILE))
    folder.finish([CONFIG_FILE, WEIGHTS_FILE])
