"""What a run says of itself besides its results: a log, line by line, and when and on what it ran."""

import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from codi_int.files import explain_output_errors

LOG = "log.txt"
PACKAGES = ("codi-int", "torch", "transformers", "numpy", "scipy", "sae-lens")
"""whose versions a manifest names"""


class RunLog:
    """Lines with their times, which go to a file as soon as it is known that the folder is this run's."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._file: Path | None = None

    def __call__(self, words: str) -> None:
        """Add a line; what is longer is one line all the same."""
        self._lines.append(f"{now()}  {' '.join(words.split())}\n")
        self._flush()

    def begin(self, folder: Path, anew: bool) -> None:
        """Write to the folder's log from here on, also what was said before.

        Args:
            folder: the run's.
            anew: leave out what another run has said there.
        """
        self._file = folder / LOG
        if anew:
            self._file.unlink(missing_ok=True)
        self._flush()

    @property
    def begun(self) -> bool:
        """Whether the file is this run's."""
        return self._file is not None

    def drop(self) -> None:
        """Remove the log of a run that left nothing."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._file is None or not self._lines:
            return
        # The one file of a run that grows: lines that are whole when a kill comes, and no more of them than were said.
        with explain_output_errors(self._file), self._file.open("a", encoding="utf-8") as file:
            file.write("".join(self._lines))
        self._lines.clear()


def now() -> str:
    """The time as manifests and logs have it: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def describe_machine() -> dict[str, Any]:
    """Versions, threads and device of this process, as a manifest has them; loads nothing for it."""
    found: dict[str, Any] = {"versions": {"python": platform.python_version()}}
    for name in PACKAGES:
        try:
            found["versions"][name] = version(name)
        except PackageNotFoundError:  # the package may run from a bare source tree
            found["versions"][name] = None
    torch = sys.modules.get("torch")
    # what was never loaded has computed nothing
    return {**found, "platform": platform.platform(), "threads": torch.get_num_threads() if torch else None}
