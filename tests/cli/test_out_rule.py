"""--out is one rule for every command that measures: refused, replaced, gone on with; every kept run has figures."""

import itertools
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from codi_int.cli.main import all_commands
from codi_int.run_folder import hold_folder

ROOT = Path(__file__).parents[2]
# command, what makes it another run, figures that it draws
COMMANDS = [
    ("ablate --layer 2 --feature LIVING --controls 1", "--seed 1", {"effect"}),
    ("ablate --layer 2 --feature LIVING --propagate split", "--seed 1", {"paths"}),
    ("amplify --layer 2 --feature LIVING --factor 2,3 --controls 1", "--controls 2", {"dose"}),
    ("swap --layer 2 --feature LIVING --with 3 --controls 1", "--limit 7", {"effect"}),
    ("screen --layer 2 --feature LIVING,3", "--limit 7", {"volcano", "firing", "effects", "ranks"}),
    ("curve --layer 2 --n 1 --draws 1", "--draws 2", {"curve"}),
    ("map --layer 2 --position 3", "--mode zero", {"map-accuracy", "map-logprob"}),
    ("patch --layer 2 --auto different --step 1 --underpowered --controls 1", "--controls 2", {"effect"}),
    ("eval", "--limit 7", {"accuracy"}),
    ("think --limit 2", "--limit 3", {"thoughts"}),
    ("lens", "--top 7", {"lens"}),
    ("lens --problem 0", "--top 7", {"lens"}),
    ("doctor --parity 1", "--parity 2", {"parity"}),
    ("sae eval SAE --no-splice --train-data none", "--limit 7", {"efficiency"}),
    ("features rank --layer 2 --sae SAE", "--rank 1", {"firing-rates"}),
    ("capture --layer 2 --position 3", "--dtype bfloat16", set()),
]
AGAIN = ("amplify", "screen", "patch", "eval", "sae", "capture")
"""commands that are run thrice: of each way to keep something one"""
COMMAND_WORDS = {word for words, _ in all_commands() for word in words.split()}


def figures(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.svg")} & {path.stem for path in folder.glob("*.png")}


@pytest.mark.parametrize(("command", "other", "drawn"), COMMANDS, ids=[words for words, _, _ in COMMANDS])
def test_out_is_one_rule(run: Callable, shelf, command: str, other: str, drawn: set[str], tmp_path: Path) -> None:
    words = command.replace("LIVING", str(shelf.living)).replace("SAE", shelf.sae).split()
    words += ["--model", shelf.model, "--data", shelf.data, "--out", str(tmp_path / "run")]
    first = run(*words)
    assert first.code in {0, 1}, first.err  # 1: a doctor's verdict
    assert drawn <= figures(tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    manifest = json.loads(before["manifest.json"])
    assert manifest["finished"]
    assert manifest["command"] == ["codi-int", *words]  # so that it can be given again
    assert manifest["run"]["command"] == " ".join(itertools.takewhile(COMMAND_WORDS.__contains__, words))
    assert {name for name in before if name != "manifest.json"} <= set(manifest["files"])

    refused = run(*words, *other.split())
    assert refused.code == 2
    option, value = shlex.split(other)
    assert f"{tmp_path / 'run'} holds another run: codi-int" in refused.err
    assert option in refused.err.splitlines()[0].split("; ")[1]
    assert f"{value} here" in refused.err
    assert refused.err.splitlines()[-1] == "Give another folder, or add --force to replace what is there."
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()} == before

    if not words[0].startswith(AGAIN):
        return
    assert run(*words).code == first.code  # the same command goes on
    assert run(*words, *other.split(), "--force").code in {0, 1}
    settings = json.loads((tmp_path / "run" / "manifest.json").read_text())["run"]
    assert str({**settings["settings"], **settings["names"]}[option]) == value


def test_another_command_is_refused_and_a_forced_one_leaves_nothing_of_it(run: Callable, shelf, tmp_path: Path) -> None:
    rest = ["--model", shelf.model, "--data", shelf.data, "--out", str(tmp_path / "run")]
    assert run("screen", "--layer", "2", "--feature", "1,2", *rest).code == 0
    refused = run("eval", *rest)
    assert refused.code == 2
    assert "holds another run: codi-int screen" in refused.err
    assert refused.err.splitlines()[-2].endswith(").")  # another command: its options are not compared
    (tmp_path / "run" / "notes.txt").write_text("mine")
    assert run("eval", *rest, "--force").code == 0
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left == {"evaluation.json", "accuracy.png", "accuracy.svg", "manifest.json", "log.txt", "notes.txt"}


def test_a_model_that_changed_makes_another_run(run: Callable, shelf, tmp_path: Path) -> None:
    """The options are the same word for word; only the file behind one of them is another."""
    data = tmp_path / "problems.jsonl"
    data.write_text(Path(shelf.data).read_text())
    words = ["eval", "--model", shelf.model, "--data", str(data), "--out", str(tmp_path / "run")]
    assert run(*words).code == 0
    data.write_text("".join(data.read_text().splitlines(keepends=True)[:5]))
    refused = run(*words)
    assert refused.code == 2
    assert "; its data is " in refused.err


def test_figures_say_what_they_leave_out(run: Callable, shelf, tmp_path: Path) -> None:
    rest = ["--model", shelf.model, "--data", shelf.data, "--out", str(tmp_path / "run")]
    dead = run("ablate", "--layer", "2", "--feature", str(shelf.dead), *rest)
    assert "left out: no figure of the effect: nothing was edited" in dead.err
    drawn = run("figures", str(tmp_path / "run"))
    assert drawn.out == "Nothing to draw.\n"
    assert "left out: no figure of the effect: nothing was edited" in drawn.err
    document = json.loads(run("figures", str(tmp_path / "run"), "--json").out)
    assert document["files"] == []
    assert "no figure of the effect: nothing was edited" in document["left_out"]


def test_no_command_of_the_docs_writes_into_what_ships() -> None:
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.ipynb")]:
        for line in path.read_text().splitlines():
            assert "--out codi_int" not in line, f"{path}: {line}"


def test_a_folder_that_another_process_writes_to_is_refused_before_anything_is_loaded(
    run: Callable, shelf, tmp_path: Path
) -> None:
    words = ["eval", "--model", shelf.model, "--data", shelf.data, "--out", str(tmp_path / "kept")]
    (tmp_path / "kept").mkdir()
    with hold_folder(tmp_path / "kept", ["codi-int", "eval"]):
        ran = run(*words)
    assert ran.code == 2
    assert "is being written to by codi-int eval (process" in ran.err
    assert len(ran.err.splitlines()) == 2
    assert run(*words).code == 0
    assert {path.name for path in (tmp_path / "kept").iterdir()} >= {"evaluation.json", "manifest.json"}
    assert not (tmp_path / "kept" / ".lock").exists()
