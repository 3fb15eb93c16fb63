"""Malformed input for everything that reads a file: is the answer always a result or an error in two lines?

    python benchmarks/fuzz.py                     # 20,000 trials, seeded
    python benchmarks/fuzz.py --family recipes --trials 500 --seed 7
    python benchmarks/fuzz.py --family recipes --replay 123   # one trial again, with its traceback

A trial takes a good file, damages it (its bytes, its JSON values, its structure), and gives it to the function or the
command that a user would. It is `read` where that works all the same, `refused` where it raises one of our errors of at
most two lines (a command: exits with 2 and such an error), and `failed` for anything else: another exception, a longer
message, a crash of the process, more than ten seconds of the processor, two minutes of the clock (a question on stdin
would wait for ever), or more memory than three gigabytes.
"""

import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

from _common import arguments, write

SECONDS = 10
"""of the processor, so that what else the machine does is not held against a trial"""
PATIENCE = 120
"""seconds of the clock, for a trial that waits for something instead of computing"""
MEMORY = 3 * 2**30
"""of address space beyond what the process has when it starts its trials"""

TEXTS = (
    "",
    "\u2028",
    "\ud800",
    "a" * 20_000,
    "$x$ and $y",
    "[/b]",
    "[bold",
    "\x1b[31m",
    "\x00",
    "../../x",
    "-1",
    "nan",
    "½",
)
RAW = (
    "NaN",
    "Infinity",
    "-0",
    "1e999",
    "9" * 5_000,
    "[" * 3_000 + "]" * 3_000,
    '"\\ud800"',
    "1_000",
    "0x10",
    "'a'",
    "",
)
NUMBERS = (0, -1, 1, 2**31, 2**63, 2**64, -(2**70), 1e308, 0.5, -0.0, 10**30)
LEAVES: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"a": 1}, *NUMBERS, *TEXTS)


def damaged_value(value: Any, rng: random.Random) -> Any:
    """A JSON value with one place changed: replaced, removed, doubled, renamed or wrapped."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        kind = rng.random()
        if kind < 0.15:
            return {k: v for k, v in value.items() if k != key}
        if kind < 0.25:
            return {(rng.choice(TEXTS) if k == key else k): v for k, v in value.items()}
        if kind < 0.30:
            return {**value, rng.choice(TEXTS): rng.choice(LEAVES)}
        return {**value, key: damaged_value(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        place = rng.randrange(len(value))
        kind = rng.random()
        if kind < 0.15:
            return value[:place] + value[place + 1 :]
        if kind < 0.25:
            return value[:place] + [value[place]] * 2 + value[place + 1 :]
        return [*value[:place], damaged_value(value[place], rng), *value[place + 1 :]]
    return rng.choice((*LEAVES, [value], {"value": value}, str(value)))


def damaged_bytes(data: bytes, rng: random.Random) -> bytes:
    """Bytes with a few places changed, cut out, doubled or put in."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        place = rng.randrange(len(out) + 1)
        kind = rng.randrange(7)
        if kind == 0:
            del out[place:]
        elif kind == 1:
            out[place : place + rng.choice((1, 2, 8, 64))] = b""
        elif kind == 2:
            out[place:place] = rng.randbytes(rng.choice((1, 2, 8)))
        elif kind == 3 and out:
            out[min(place, len(out) - 1)] ^= 1 << rng.randrange(8)
        elif kind == 4:
            out[place:place] = rng.choice(RAW).encode("utf-8", "surrogatepass")
        elif kind == 5:
            out[place:place] = out[place : place + 40]
        else:
            out[:0] = rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\n", b"\x1f\x8b"))
    return bytes(out)


def damaged_json(text: str, rng: random.Random) -> bytes:
    """A JSON document with a value, its text or its encoding damaged."""
    if rng.random() < 0.65:
        value = json.loads(text)
        for _ in range(rng.choice((1, 1, 2))):
            value = damaged_value(value, rng)
        text = json.dumps(value)
        if rng.random() < 0.2:
            places = [i for i, letter in enumerate(text) if letter in "0123456789"] or [0]
            place = rng.choice(places)
            text = text[:place] + rng.choice(RAW) + text[place + 1 :]
        return text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        return text.encode(rng.choice(("utf-16", "utf-32", "latin-1", "utf-8-sig")), "replace")
    return damaged_bytes(text.encode(), rng)


def damaged_lines(text: str, rng: random.Random) -> bytes:
    """A JSONL document with one line damaged, or its bytes."""
    lines = text.split("\n")
    place = rng.randrange(len(lines))
    if rng.random() < 0.7 and lines[place]:
        parts = [line.encode() for line in lines]
        parts[place] = damaged_json(lines[place], rng)
        return b"\n".join(parts)
    return damaged_bytes(text.encode(), rng)


@dataclass(frozen=True)
class Good:
    """Files that are whole, to be damaged."""

    folder: Path
    """where they lie: model/, sae/, data.jsonl, pairs.jsonl, pairs.csv, features.txt, recipe.json, ..."""
    problems: tuple[Any, ...]
    """the problems of data.jsonl"""


@cache
def good(folder: str) -> Good:
    """The good files, made once for each process."""
    from codi_int.data.problems import load_problems

    return Good(Path(folder), tuple(load_problems(str(Path(folder) / "data.jsonl"))))


def make_good(folder: Path) -> None:
    """A random 2-layer model, an SAE for it in both formats, problems, pairs, recipes, a capture, kept runs."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    import codi_int as ci
    from codi_int.data.problems import write_jsonl
    from codi_int.data.stories import load_stories
    from codi_int.data.story_tokenizer import build_tokenizer
    from codi_int.model.codi import CodiConfig, Projection
    from codi_int.model.store import save_model
    from codi_int.sae import SAEConfig, TopKSAE, save_sae
    from codi_int.sae.captures import capture_to_disk
    from codi_int.sae.published import export_published

    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    ids = tokenizer.convert_tokens_to_ids
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    hf = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=256, **shape))
    special = {f"{name}_id": ids(f"<{name}>") for name in ("pad", "bot", "eot", "eos")}
    config = CodiConfig(**special, prj_dim=16, max_new_tokens=4, answer_rule="last", name="random")
    save_model(folder / "model", hf, Projection(16, 16), config, tokenizer)
    model = ci.load_model(folder / "model")
    problems = load_stories("validation", limit=6)
    write_jsonl(problems, folder / "data.jsonl")
    sae = TopKSAE(SAEConfig(d_in=16, d_sae=24, k=4, rule="abs"))
    for weights in sae.parameters():
        torch.nn.init.normal_(weights)
    sae.annotate(site=ci.Site(1, 3), model=model.name, model_sha256=model.sha256)
    save_sae(sae, folder / "model" / "sae" / "L1.P3")
    export_published(sae, folder / "sae.pt")
    capture_to_disk(model, problems, folder / "capture", layers=(1,))
    pairs = [{"target": problems[0].id, "source": problems[1].id}, {"target": problems[2].id, "source": problems[3].id}]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)) + "\n")
    (folder / "pairs.csv").write_text("target,source\n" + "".join(f"{p['target']},{p['source']}\n" for p in pairs))
    (folder / "features.txt").write_text("1,2\n3,4\n5, 6\n")
    (folder / "recipe.json").write_text(json.dumps({"k": 8, "d_sae": 32, "learning_rate": 0.001, "epochs": 2}))
    (folder / "batch.json").write_text(json.dumps({"batch_size": 2}))
    for command in KEPT_RUNS.values():
        run(*command.format(folder=folder).split())


MODEL = "--model {folder}/model --data {folder}/data.jsonl"
KEPT_RUNS = {
    "screen": f"screen --layer 1 --feature 1,2,3 --out {{folder}}/screen {MODEL}",
    "map": f"map --layer 1 --out {{folder}}/map {MODEL}",
    "curve": f"curve --layer 1 --n 1,2 --draws 1 --out {{folder}}/curve {MODEL}",
    "result": f"ablate --layer 1 --feature 3 --controls 2 --out {{folder}}/result {MODEL}",
    "results": f"amplify --layer 1 --feature 3 --factor 2,3 --controls 2 --out {{folder}}/results {MODEL}",
    "eval": f"sae eval {{folder}}/model/sae/L1.P3 --train-data none --out {{folder}}/eval {MODEL}",
    "sweep": "sae sweep --layer 1 --k 2,4 --features 16,24 --epochs 1 --recipe {folder}/batch.json "
    f"--out {{folder}}/sweep --held-out {{folder}}/data.jsonl {MODEL}",
}
"""folder -> the command that leaves it"""


class _RefusedError(Exception):
    """A command exited with 2 and said why."""


def run(*words: str) -> None:
    """`codi-int` in this process, silent; `_RefusedError` where it says that it cannot."""
    from codi_int.cli.main import main

    out, err = StringIO(), StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main(list(words))
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    lines = err.getvalue().splitlines()
    said = next((i for i, line in enumerate(lines) if line.startswith("codi-int:")), None)
    if code not in (0, 2) or (code == 2 and (said is None or len(lines[said:]) > 2)):
        raise AssertionError(f"exit code {code}: {err.getvalue()[-600:]}")
    if code == 2:
        raise _RefusedError(err.getvalue()[-600:])


def sae_config(good: Good, here: Path, rng: random.Random) -> None:
    from codi_int.sae.store import load_sae

    shutil.copytree(good.folder / "model" / "sae" / "L1.P3", here / "sae")
    path = here / "sae" / "cfg.json"
    path.write_bytes(damaged_json(path.read_text(), rng))
    load_sae(here / "sae")


def sae_weights(good: Good, here: Path, rng: random.Random) -> None:
    from codi_int.sae.store import load_sae

    shutil.copytree(good.folder / "model" / "sae" / "L1.P3", here / "sae")
    path = here / "sae" / "sae_weights.safetensors"
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    if rng.random() < 0.5:  # the header is JSON, behind its length
        header = damaged_json(data[8 : 8 + size].decode(), rng)
        data = len(header).to_bytes(8, "little") + header + data[8 + size :]
    else:
        data = damaged_bytes(data[: 8 + size], rng) + data[8 + size :]
    path.write_bytes(data)
    load_sae(here / "sae")


def published_pt(good: Good, here: Path, rng: random.Random) -> None:
    import torch

    from codi_int.sae.published import import_published

    path = here / "sae.pt"
    if rng.random() < 0.4:
        path.write_bytes(damaged_bytes((good.folder / "sae.pt").read_bytes(), rng))
    else:
        raw = torch.load(good.folder / "sae.pt", weights_only=True)
        whole = {"model_state_dict": dict(raw["model_state_dict"]), "config": raw["config"], "metrics": raw["metrics"]}
        part = rng.choice(list(whole))
        whole[part] = damaged_value(whole[part], rng)
        if rng.random() < 0.3 and isinstance(whole["model_state_dict"], dict):
            odd = (
                torch.zeros(3),
                torch.zeros(0, 0),
                torch.empty(1).expand(2**20, 2**10),
                torch.zeros(4, 4, dtype=torch.int8),
            )
            whole["model_state_dict"]["encoder.weight"] = rng.choice(odd)
        torch.save(whole if rng.random() < 0.95 else rng.choice(LEAVES), path)
    import_published(path)


def problems(good: Good, here: Path, rng: random.Random) -> None:
    from codi_int.data.problems import load_problems

    (here / "data.jsonl").write_bytes(damaged_lines((good.folder / "data.jsonl").read_text(), rng))
    load_problems(str(here / "data.jsonl"))


def pairs(good: Good, here: Path, rng: random.Random) -> None:
    from codi_int.interventions.patching.pairs import read_pairs

    name = rng.choice(("pairs.jsonl", "pairs.csv"))
    text = (good.folder / name).read_text()
    (here / name).write_bytes(damaged_lines(text, rng) if name.endswith("l") else damaged_bytes(text.encode(), rng))
    read_pairs(here / name, good.problems)


def recipes(good: Good, here: Path, rng: random.Random) -> None:
    from codi_int.sae.recipe_files import read_recipe
    from codi_int.training.recipe import Recipe

    own = Path(__file__).parents[1] / "experiments" / "codi-mini.json"
    if rng.random() < 0.5:
        (here / "recipe.json").write_bytes(damaged_json((good.folder / "recipe.json").read_text(), rng))
        read_recipe(here / "recipe.json", {}, {})
    else:
        (here / "recipe.json").write_bytes(damaged_json(own.read_text(), rng))
        Recipe.load(here / "recipe.json")


def sidecars(good: Good, here: Path, rng: random.Random) -> None:
    """What a run has left behind, given to what goes on from it."""
    from codi_int.sae.captures import open_capture

    kind = rng.choice(("capture", *KEPT_RUNS) if rng.random() < 0.5 else ("capture",))
    shutil.copytree(good.folder / kind, here / kind, ignore=shutil.ignore_patterns("*.svg", "*.png"))
    path = rng.choice(sorted((here / kind).glob("*.json")))
    path.write_bytes(damaged_json(path.read_text(), rng))
    if kind == "capture":
        open_capture(here / "capture")
    else:
        words = KEPT_RUNS[kind].replace("{folder}/" + kind, str(here / kind)).format(folder=good.folder)
        with _no_figures():
            run(*words.split())


@contextmanager
def _no_figures() -> Iterator[None]:
    """Figures at the end of a run are made but not rendered, which takes a second and is a family of its own."""
    from matplotlib.figure import Figure

    before = Figure.savefig
    Figure.savefig = lambda *_, **__: None
    try:
        yield
    finally:
        Figure.savefig = before


def figures(good: Good, here: Path, rng: random.Random) -> None:
    from codi_int.report.figures import draw_kept

    kind = rng.choice(tuple(KEPT_RUNS))
    shutil.copytree(good.folder / kind, here / kind, ignore=shutil.ignore_patterns("*.svg", "*.png"))
    path = here / kind / {"sweep": "grid.json"}.get(kind, f"{kind}.json")
    path.write_bytes(damaged_json(path.read_text(), rng))
    draw_kept(here / kind)


def model_folders(good: Good, here: Path, rng: random.Random) -> None:
    import codi_int as ci

    shutil.copytree(good.folder / "model", here / "model", ignore=shutil.ignore_patterns("sae"))
    path = rng.choice(sorted(path for path in (here / "model").iterdir() if path.is_file()))
    kind = rng.random()
    if kind < 0.1:
        path.unlink()
    elif path.suffix == ".json":
        path.write_bytes(damaged_json(path.read_text(), rng))
    else:
        path.write_bytes(damaged_bytes(path.read_bytes()[:4096], rng) + path.read_bytes()[4096:])
    ci.load_model(here / "model")


def commands(good: Good, here: Path, rng: random.Random) -> None:
    """Hostile names and options through whole commands."""
    name = rng.choice([text for text in TEXTS if "/" not in text and "\x00" not in text and 0 < len(text) < 100])
    data = here / f"{name.encode('utf-8', 'replace').decode()}.jsonl"
    rows = [json.loads(line) for line in (good.folder / "data.jsonl").read_text().splitlines()]
    rows[0]["id"] = name
    rows[1]["question"] = f"{name} {rows[1]['question']}"
    data.write_text("\n".join(map(json.dumps, rows)))
    number = str(rng.choice((*NUMBERS, "x", "", "-", "1,2", "3-1", "nan")))
    model = str(good.folder / "model")
    command = rng.choice(
        (
            ("ablate", "--layer", "1", "--feature", number),
            ("ablate", "--layer", "1", "--feature", "3", "--seed", number),
            ("ablate", "--layer", number, "--feature", "3"),
            ("amplify", "--layer", "1", "--feature", "3", "--factor", number),
            ("swap", "--layer", "1", "--feature", "3", "--with", number),
            ("screen", "--layer", "1", "--feature", "1,2", "--top", number),
            ("curve", "--layer", "1", "--n", number, "--draws", "1"),
            ("eval", "--limit", number),
            ("think", "--limit", "2"),
            ("lens", "--limit", "3"),
            ("doctor",),
        )
    )
    words = [*command, "--model", model]
    if command[0] != "doctor":
        words += ["--data", str(data)]
    if command[0] in ("ablate", "amplify", "swap"):
        words += ["--controls", "1"]
    run(*words, *(("--json",) if rng.random() < 0.5 else ()))


FAMILIES: Mapping[str, tuple[Callable[[Good, Path, random.Random], None], int]] = {
    "sae config": (sae_config, 2_500),
    "safetensors": (sae_weights, 3_000),
    "published .pt": (published_pt, 2_500),
    "problems": (problems, 3_000),
    "pairs": (pairs, 2_500),
    "recipes": (recipes, 2_000),
    "sidecars": (sidecars, 1_500),
    "figures": (figures, 500),
    "model folders": (model_folders, 1_500),
    "commands": (commands, 1_000),
}
"""family -> what a trial does, and how many there are"""


class _TooSlowError(Exception):
    """A trial took longer than anybody would wait."""


def _alarm(number: int, _: object) -> None:
    limit = f"{PATIENCE} seconds" if number == signal.SIGALRM else f"{SECONDS} seconds of the processor"
    raise _TooSlowError(f"more than {limit}")


def one(family: str, number: int, seed: int, folder: str) -> tuple[str, str]:
    """(outcome, what happened) of one trial."""
    from codi_int.errors import CodiError

    rng = random.Random(f"{seed} {family} {number}")
    for name in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(name, _alarm)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        with tempfile.TemporaryDirectory() as here:
            FAMILIES[family][0](good(folder), Path(here), rng)
        return "read", ""
    except _RefusedError:
        return "refused", ""
    except CodiError as error:
        long = len(str(error).splitlines()) > 2
        return ("failed", f"more than two lines: {error}") if long else ("refused", "")
    except Exception:
        return "failed", traceback.format_exc(limit=-4)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def share(family: str, numbers: Sequence[int], seed: int, folder: str, kept: Path) -> None:
    """Some trials, in a process whose memory is limited; each outcome is a line of `kept` as soon as it is known."""
    import warnings

    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    good(folder)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, resource.RLIM_INFINITY))
    with redirect_stderr(StringIO()), kept.open("a") as lines:
        for number in numbers:
            print(json.dumps([number, *one(family, number, seed, folder)]), file=lines, flush=True)


def survey(family: str, trials: int, seed: int, folder: str, workers: int) -> list[tuple[int, str, str]]:
    """(number, outcome, what happened) of a family's trials, also of those that end their process."""
    kept = {range(i, trials, 4 * workers): Path(folder) / f"outcomes-{i}" for i in range(4 * workers)}
    for path in kept.values():
        path.write_text("")
    with ProcessPoolExecutor(workers) as pool:
        jobs = [
            pool.submit(share, family=family, numbers=part, seed=seed, folder=folder, kept=path)
            for part, path in kept.items()
        ]
    for job in jobs:
        if not isinstance(job.exception(), BrokenExecutor | None):
            job.result()
    # A crash takes the pool with it, whoever else was at work. So what is left is tried one process at a time, and the
    # trial that it then stops at is the one.
    for part, path in kept.items():
        while rest := part[len(path.read_text().splitlines()) :]:
            with ProcessPoolExecutor(1) as pool, suppress(BrokenExecutor):
                pool.submit(share, family=family, numbers=rest, seed=seed, folder=folder, kept=path).result()
            if left := part[len(path.read_text().splitlines()) :]:
                with path.open("a") as lines:
                    print(json.dumps([left[0], "failed", "the process died"]), file=lines)
    return sorted(tuple(json.loads(line)) for path in kept.values() for line in path.read_text().splitlines())


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--family", choices=FAMILIES, help="only this one")
    parser.add_argument("--trials", type=int, help="of each family; default 20,000 together")
    parser.add_argument("--replay", type=int, help="one trial of --family by its number, with its traceback")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    began, rows, failures = time.perf_counter(), [], []
    with tempfile.TemporaryDirectory() as folder:
        make_good(Path(folder))
        if options.replay is not None:
            print("\n".join(one(options.family, options.replay, options.seed, folder)))
            return
        for family, (_, usual) in FAMILIES.items():
            if options.family not in (None, family):
                continue
            trials = options.trials or (usual // 100 if options.quick else usual)
            found = survey(family, trials, options.seed, folder, options.workers)
            count = Counter(outcome for _, outcome, _ in found)
            rows.append(
                {"family": family, "tried": len(found), **{name: count[name] for name in ("read", "refused", "failed")}}
            )
            failures += [
                {"family": family, "trial": n, "what": what} for n, outcome, what in found if outcome == "failed"
            ]
            print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), file=sys.stderr, flush=True)
    seconds = time.perf_counter() - began
    total = {name: sum(row[name] for row in rows) for name in ("tried", "read", "refused", "failed")}
    print(f"{'family':16}{'tried':>8}{'read':>8}{'refused':>9}{'failed':>8}")
    for row in (*rows, {"family": "all", **total}):
        print(f"{row['family']:16}{row['tried']:>8,}{row['read']:>8,}{row['refused']:>9,}{row['failed']:>8,}")
    print(f"{seconds:.0f} s, seed {options.seed}")
    for failure in failures[:20]:
        print(f"\n{failure['family']}, trial {failure['trial']}:\n{failure['what'][-1500:]}")
    write(
        "fuzz",
        {"seed": options.seed, "seconds": seconds, "rows": rows, "failures": failures},
        options.quick,
    )


if __name__ == "__main__":
    main()
