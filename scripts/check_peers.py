"""Do Inspect and Polars read what `codi-int export` writes? Checked in an environment of their own, not beside ours.

    python scripts/check_peers.py                  # installs both into a temporary environment, then checks
    python scripts/check_peers.py --python PYTHON  # with an interpreter that has inspect-ai, pandas, pyarrow and polars

The log that the tests keep is read, and one of an ablation that is run for it, with its table. Exits with 1 where
anything differs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "runs" / "golden" / "inspect-log.json"
WANTED = ("inspect-ai", "pandas", "pyarrow", "polars")
EDIT = ("ablate", "--feature", "449", "--layer", "14", "--limit", "60", "--controls", "2")
READER = """
import json, sys
from importlib.metadata import version
from pathlib import Path
from inspect_ai.analysis import evals_df, samples_df
from inspect_ai.log import read_eval_log
import polars

golden, logs, table, document = sys.argv[1:]
(log,) = map(str, Path(logs).iterdir())
for file in (golden, log):
    read = read_eval_log(file)
    samples = read.samples
    assert read.status == "success" and read.eval.dataset.samples == len(samples) == read.results.total_samples
    for score in read.results.scores:
        right = sum(sample.scores[score.name].value == "C" for sample in samples) / len(samples)
        assert abs(right - score.metrics["accuracy"].value) < 1e-12, (file, score.name)
    assert read_eval_log(file, header_only=True).results == read.results
    print(f"inspect-ai {version('inspect-ai')}: {read.eval.task}, {len(samples)} samples, "
          f"{', '.join(score.name for score in read.results.scores)}")
evals, rows = evals_df(logs), samples_df(logs)
assert list(evals["task_name"]) == [read.eval.task.split("/")[-1]], list(evals["task_name"])
assert list(evals["score_intervened_accuracy"]) == [read.results.scores[-1].metrics["accuracy"].value]
assert sorted(rows["id"].astype(str)) == sorted(str(sample.id) for sample in samples)
print(f"its data frames: {len(rows)} samples of {len(evals)} log in a folder")
frame = polars.read_parquet(table)
kept = json.loads(open(document).read())
clean, edited = (int(frame[f"{arm}_correct"].sum()) for arm in ("clean", "intervened"))
assert (clean, edited) == (kept["arms"]["clean"]["n_correct"], kept["arms"]["intervened"]["n_correct"])
assert frame.height == kept["experiment"]["n_problems"] and int(frame["touched"].sum()) == kept["effect"]["n_touched"]
print(f"polars {version('polars')}: {frame.height} rows x {frame.width} columns, right {clean} -> {edited}")
"""


def main() -> int:
    """Export, install, read; says what was read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="an interpreter that has them")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        run, logs, table = place / "run", place / "logs", place / "table.parquet"
        _codi_int(*EDIT, "--out", str(run))
        _codi_int("export", str(run), *("--format", "inspect"), "--out", str(logs))
        _codi_int("export", str(run), "--out", str(table))
        python = given.python or _install(place / "env")
        files = [str(file) for file in (GOLDEN, logs, table, run / "result.json")]
        return subprocess.run([python, "-c", READER, *files]).returncode


def _codi_int(*words: str) -> None:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    subprocess.run(
        [sys.executable, "-m", "codi_int", *words],
        check=True,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
    )


def _install(env: Path) -> str:
    """A new environment with them; its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", str(env)], check=True)
    python = str(env / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *WANTED], check=True)
    return python


if __name__ == "__main__":
    sys.exit(main())
