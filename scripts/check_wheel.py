"""Do the sdist and the wheel hold everything? Both are built, installed elsewhere, and run away from the checkout.

    python scripts/check_wheel.py           # into an empty environment, with all that it needs (gigabytes of torch)
    python scripts/check_wheel.py --borrow  # the same with the packages of this environment beside it: a minute

The wheel is made from the sdist, so what the sdist lacks the wheel lacks too. Exits with 1 where anything fails.
"""

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SETTINGS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""of this environment, which must not reach into the other one"""


def main() -> int:
    """Build, install, run; says what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--borrow", action="store_true", help="take every other package from this environment")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _run(*["uv", "build", "--quiet", "--out-dir", str(place / "dist"), str(ROOT)])
        (wheel,) = (place / "dist").glob("*.whl")
        (sdist,) = (place / "dist").glob("*.tar.gz")
        print(f"{sdist.name} {_megabytes(sdist)}, {wheel.name} {_megabytes(wheel)}")
        python = _install(wheel, place / "env", given.borrow)
        _check(python, place)
    return 0


def _install(wheel: Path, env: Path, borrow: bool) -> Path:
    """A new environment with the wheel; its interpreter."""
    _run(sys.executable, "-m", "venv", str(env))
    python = env / "bin" / "python"
    rest = ["--no-deps"] if borrow else ["--constraint", str(ROOT / "constraints.txt")]
    _run(*[str(python), "-m", "pip", "install", "--quiet", *rest, str(wheel)])
    if borrow:
        purelib = _run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        # a plain path: what stands in .pth files of the other environment, this checkout for one, is not followed
        (Path(purelib) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


def _check(python: Path, place: Path) -> None:
    """Run it away from the checkout and hold what comes out against what is known."""
    where = _run(str(python), "-c", "import codi_int; print(codi_int.__file__, codi_int.__version__)", cwd=place)
    file, version = where.split()
    assert Path(file).is_relative_to(place), f"codi_int is {file}, not the installed one"
    command = python.parent / "codi-int"
    assert _run(str(command), "--version", cwd=place).strip() == version
    listed = json.loads(_run(str(command), "list", "--json", cwd=place))
    words = ["ablate", "--feature", "449", "--layer", "10", "--position", "5", "--limit", "100", "--controls", "1"]
    result = json.loads(_run(str(command), *words, "--json", cwd=place))
    assert result["experiment"]["n_problems"] == 100, result["experiment"]
    assert result["environment"]["codi_int"] == version
    right = result["arms"]["clean"]["n_correct"]
    assert right > 90, f"the shipped model answers {right} of 100"
    counts = {name: len(rows) for name, rows in listed.items() if isinstance(rows, list)}
    print(f"codi-int {version} runs from {place}: lists {counts}, answers {right} of 100")


def _run(*words: str, cwd: Path | None = None) -> str:
    environment: dict[str, Any] = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    # uv is a package of this environment, which need not be an active one
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    ran = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"{' '.join(words[:6])} ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}")
    return ran.stdout


def _megabytes(file: Path) -> str:
    return f"{file.stat().st_size / 1e6:.1f} MB"


if __name__ == "__main__":
    sys.exit(main())
