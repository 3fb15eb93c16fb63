"""Would the pinned set install on another machine? A dry run for every supported Python; nothing is installed.

    python scripts/resolve.py

The Python that runs this asks pip, as a user's would. For the others uv resolves: pip takes no source distributions
for another Python than its own, and two packages of the set come as such. Local wheels and configuration are switched
off, so that a wheel that lies on this machine cannot hide a pin that no index has.

Exits with 1 where the set does not resolve, and with 0 and a warning where no index could be reached at all, which says
nothing about the set.
"""

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
PYTHONS = ("3.11", "3.12", "3.13")
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
SIGNS_OF_NO_NETWORK = ("connection", "timed out", "name resolution", "max retries", "failed to fetch", "dns error")
"""in what pip and uv say; pip says the same of a package that does not exist and of one that it could not ask for"""


def requirements() -> list[str]:
    """What pyproject.toml asks for, with all its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    return [*project["dependencies"], *(name for extra in extras for name in extra)]


def pip_command(wanted: list[str]) -> list[str]:
    """pip's dry run for the Python that runs this."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    return [*command, "--constraint", str(CONSTRAINTS), *wanted]


def uv_command(python: str, requirements_file: Path) -> list[str]:
    """uv's resolution for another Python."""
    command = [sys.executable, "-m", "uv", "--no-config", "pip", "compile", "--quiet", "--python-version", python]
    return [*command, "--constraint", str(CONSTRAINTS), str(requirements_file), "--output-file", os.devnull]


def fresh_environment() -> dict[str, str]:
    """The environment without anything that points pip or uv to wheels or to another index."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    certificates = {"PIP_CERT": os.environ["PIP_CERT"]} if "PIP_CERT" in os.environ else {}
    return kept | certificates | {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def check(name: str, command: list[str]) -> bool:
    """Run one dry run and say how it went; False where the set does not resolve."""
    done = subprocess.run(command, env=fresh_environment(), capture_output=True, text=True)
    if done.returncode == 0:
        print(f"{name}: resolves", flush=True)
        return True
    complaint = done.stderr.strip()
    if any(sign in complaint.lower() for sign in SIGNS_OF_NO_NETWORK):
        print(f"{name}: no index could be reached, so nothing is known", file=sys.stderr, flush=True)
        return True
    print(f"{name}: does not resolve\n{complaint}", file=sys.stderr, flush=True)
    return False


def main() -> int:
    wanted = requirements()
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "requirements.in"
        listed.write_text("\n".join(wanted))
        works = [check(f"Python {OWN}, pip", pip_command(wanted))]
        works += [check(f"Python {python}, uv", uv_command(python, listed)) for python in PYTHONS]
    return 0 if all(works) else 1


if __name__ == "__main__":
    sys.exit(main())
