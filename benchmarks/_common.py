"""What the benchmarks share: fresh processes, peak memory, the record of the machine, tables, result files."""

import argparse
import csv
import hashlib
import json
import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
DOCS_RESULTS = ROOT / "docs" / "results"
IMAGES = DOCS_RESULTS / "images"
"""the pages that scripts fill in, and every picture of the docs"""
QUICK = ROOT / "build" / "benchmarks"
"""where runs with --quick write: toy sizes prove that a script works and are no results"""


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every script here takes."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="toy sizes; the JSON says so and lies in build/benchmarks")
    return parser


def machine() -> dict[str, Any]:
    """What timings depend on besides the code."""
    import torch

    import codi_int

    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "load_at_start": round(os.getloadavg()[0], 2),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "codi_int": codi_int.__version__,
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not on Linux
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def peak_mib() -> float:
    """The most memory that this process has held since it began, or (on Linux) since `forget_peak`."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM"))


def forget_peak() -> float:
    """Count the peak from here on (where the system can do that); returns the memory that is held now."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak_mib()


def part(script: str, name: str, *options: object) -> dict[str, Any]:
    """One part of a script in a process of its own: `--part name` prints one JSON document as its last line.

    Raises:
        RuntimeError: the part failed; the message ends with what it wrote on stderr.
    """
    command = [sys.executable, script, "--part", name, *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def matmul_rate(size: int = 2048, device: str = "cpu", dtype: Any = None) -> float:
    """Floating-point operations per second of a large product, best of seven; float32 where no dtype is given."""
    import torch

    a, b = torch.randn(2, size, size, device=device, dtype=dtype)
    times = []
    for _ in range(7):
        started = time.perf_counter()
        float((a @ b)[0, 0])  # reading a number waits for a GPU
        times.append(time.perf_counter() - started)
    return float(2 * size**3 / min(times))


class Stopwatch:
    """Adds up the seconds spent under each name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def at(self, name: str) -> Iterator[None]:
        """Time the block under a name."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed under a name."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.at(name):
                return call(*args, **kwargs)

        return timed


def show(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Print a Markdown table; `columns` maps keys of the rows to headings. None reads "not measured"."""
    print("| " + " | ".join(columns.values()) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(_cell(row.get(key)) for key in columns) + " |", flush=True)


def _cell(value: Any) -> str:
    if value is None:
        return "not measured"
    if isinstance(value, bool) or not isinstance(value, float):
        return f"{value:,}" if type(value) is int else str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def write(name: str, out: Mapping[str, Any], quick: bool) -> Path:
    """Write a result, with the machine's record, as JSON; a quick run's goes where it can be taken for no result."""
    folder = QUICK if quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"quick": quick, "machine": machine(), **out}, indent=1) + "\n")
    print(f"-> {path.relative_to(ROOT)}", flush=True)
    return path


def run_command(*words: str) -> str:
    """What a codi-int command prints, run from the checkout's root so that paths in it are short."""
    print("codi-int", *words, flush=True)
    codi = Path(sys.executable).with_name("codi-int")
    done = subprocess.run([str(codi), *words], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    return "\n".join(line.rstrip() for line in done.stdout.rstrip().splitlines())


def fill_page(page: Path, marker: str, text: str, code: bool = True) -> None:
    """Put a text, as code or as Markdown, between two markers of a page.

    Raises:
        ValueError: the page has no such markers.
    """
    fence = "```\n" if code else "\n"  # a table is one only behind an empty line
    block = f"<!-- {marker}: begin -->\n{fence}{text}\n{fence}<!-- {marker}: end -->"
    pattern = f"<!-- {marker}: begin -->.*<!-- {marker}: end -->"
    filled, places = re.subn(pattern, lambda _: block, page.read_text(), count=1, flags=re.DOTALL)
    if not places:
        raise ValueError(f"{page} has no markers {marker}: begin and end")
    page.write_text(filled)
    if page.is_relative_to(ROOT):  # a test may fill a page of its own
        record_blocks(page, marker)


BLOCKS = DOCS_RESULTS / "blocks.txt"
"""a digest of every block that a script has written: a number that was changed by hand fails tests/test_pages.py"""


def blocks_of(page: Path) -> dict[str, str]:
    """Marker -> what stands between its two marks, of every block of a page."""
    found = re.findall(r"<!-- ([\w.-]+): begin -->\n(.*?)<!-- \1: end -->", page.read_text("utf-8"), re.DOTALL)
    return dict(found)


def recorded_blocks() -> dict[str, str]:
    """Path of a page, `#` and marker -> digest."""
    lines = BLOCKS.read_text(encoding="utf-8").splitlines() if BLOCKS.is_file() else []
    return {name: digest for digest, name in (line.split("  ") for line in lines)}


def digest_of_block(text: str) -> str:
    """Of what stands between two marks."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def record_blocks(page: Path, *markers: str) -> None:
    """Keep the digests of some blocks of a page (of all, where none is named) as what a script has written."""
    found, known = blocks_of(page), recorded_blocks()
    for marker in markers or found:
        known[f"{page.relative_to(ROOT).as_posix()}#{marker}"] = digest_of_block(found[marker])
    BLOCKS.write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(known.items())), encoding="utf-8")


def write_table(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Rows as CSV; numbers with six significant digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
