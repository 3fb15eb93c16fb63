"""The loop: what a killed run loses, what a curve holds, what workers share."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from codi_int.errors import ConfigError, DataError, OutputError
from codi_int.training.batches import StoryStream
from codi_int.training.recipe import Recipe, Stage
from codi_int.training.trainer import RunOptions, Trainer, train

TINY = Recipe(
    stages=(Stage("drill", 2, 0.002, 0.002), Stage("chain", 2, 0.002, 0.002), Stage("joint", 4, 0.002, 0.0)),
    n_layers=2,
    d_model=24,
    d_mlp=32,
    prj_dim=24,
    n_heads=3,
    batch_size=4,
    drill_facts=3,
    bfloat16=False,
)


def options(folder, **changes):
    folder.mkdir(exist_ok=True)
    return replace(RunOptions(folder, workers=1, evaluate_batches=4, evaluate_stories=40), **changes)


def test_a_run_writes_its_curve_and_learns(tmp_path):
    Trainer(TINY, options(tmp_path), 0, 1).run()
    rows = list(csv.DictReader((tmp_path / "curve.csv").open()))
    assert [row["batch"] for row in rows] == ["4", "8"]
    assert [row["stage"] for row in rows] == ["chain", "joint"]
    assert all(0 <= float(row["held_out_latent"]) <= 1 for row in rows)


def test_drilling_lowers_the_loss(tmp_path):
    recipe = replace(TINY, stages=(Stage("drill", 60, 0.01, 0.01),), batch_size=16)
    trainer = Trainer(recipe, options(tmp_path), 0, 1)
    stream = trainer._stream(recipe.stages[0])
    losses = [float(trainer._step(next(stream), "drill", 0.01).total) for _ in range(60)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_ctrl_c_ends_a_run_with_a_checkpoint_and_the_same_command_goes_on(tmp_path):
    code = (
        "from pathlib import Path; from codi_int.training.trainer import RunOptions, train; "
        "from codi_int.training.recipe import Recipe\n"
        "if __name__ == '__main__':\n"
        f"    run = Path({str(tmp_path)!r})\n"
        "    options = RunOptions(run, workers=1, evaluate_batches=5, evaluate_stories=20)\n"
        "    print(train(Recipe.load(run / 'recipe.json'), options).batch)"
    )
    long = replace(TINY, stages=(Stage("drill", 100_000, 0.002, 0.002),))
    (tmp_path / "recipe.json").write_text(json.dumps(long.to_dict()))
    (tmp_path / "go.py").write_text(code)
    process = subprocess.Popen([sys.executable, tmp_path / "go.py"], stdout=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 300
    while not (tmp_path / "curve.csv").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    stopped_at = int(out)
    assert 0 < stopped_at < 100_000
    again = Trainer(long, options(tmp_path), 0, 1)
    assert again.resume()
    assert again.progress.batch == stopped_at


def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path):
    first = Trainer(TINY, options(tmp_path, stop_after_seconds=0.0), 0, 1)
    first.run()
    assert first.progress.batch == 1
    second = Trainer(TINY, options(tmp_path), 0, 1)
    assert second.resume()
    assert second.progress == first.progress
    for (name, mine), theirs in zip(second.model.named_parameters(), first.model.parameters(), strict=True):
        assert_close(mine, theirs, msg=lambda m, name=name: f"{name}: {m}")
    momentum = [o.state_dict()["state"][0] for o in second.optimizers]
    assert all(any(torch.is_tensor(v) and v.abs().sum() > 0 for v in state.values()) for state in momentum)
    second.run()
    assert second.progress.batch == TINY.total_batches


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_said_in_two_lines_and_the_checkpoint_is_kept(tmp_path):
    Trainer(TINY, options(tmp_path, stop_after_seconds=0.0), 0, 1).run()
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    (tmp_path / "curve.csv").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="no space left on device") as caught:
        train(TINY, options(tmp_path))
    assert str(caught.value).endswith("The last checkpoint is kept.")
    assert len(str(caught.value).splitlines()) == 2
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept


def test_a_fresh_folder_has_nothing_to_resume(tmp_path):
    assert not Trainer(TINY, options(tmp_path), 0, 1).resume()


def test_two_workers_learn_what_one_learns(tmp_path):
    recipe = replace(TINY, stages=(Stage("drill", 2, 0.002, 0.002),))  # lines of one length: equal shares
    (one, two) = (options(tmp_path / str(workers), workers=workers) for workers in (1, 2))
    Trainer(recipe, one, 0, 1).run()
    train(recipe, two)
    states = [torch.load(asked.folder / "checkpoint.pt", weights_only=True)["model"] for asked in (one, two)]
    for name in states[0]:
        assert_close(states[0][name], states[1][name], atol=2e-4, rtol=2e-3, msg=lambda m, name=name: f"{name}: {m}")


def test_recipes_are_read_back_and_refused(tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(TINY.to_dict()))
    assert Recipe.load(path) == TINY
    path.write_text('{"stages": [{"kind": "dance", "batches": 1, "lr_from": 0.0, "lr_to": 0.0}]}')
    with pytest.raises(ConfigError, match="drill, chain, joint"):
        Recipe.load(path)
    path.write_text(json.dumps({**TINY.to_dict(), "layers": 2}))
    with pytest.raises(DataError, match=r"layers does not exist") as caught:
        Recipe.load(path)
    assert "n_layers" in caught.value.remedy
    path.write_text('{"stages": [{"kind": "drill", "lr_from": 0.0, "lr_to": 0.0}]}')
    with pytest.raises(DataError, match="a stage lacks batches"):
        Recipe.load(path)
    path.write_text("{")
    with pytest.raises(DataError, match="no JSON"):
        Recipe.load(path)
    with pytest.raises(DataError, match=r"There is no recipe at .*\n.*name: codi-mini"):
        Recipe.load(tmp_path / "nothing.json")


def test_learning_rate_is_linear_within_a_stage():
    recipe = replace(TINY, stages=(Stage("drill", 2, 0.1, 0.1), Stage("joint", 4, 0.4, 0.0)))
    assert [round(recipe.at(b)[1], 3) for b in range(6)] == [0.1, 0.1, 0.4, 0.3, 0.2, 0.1]


def test_a_stage_passes_over_the_stories_it_does_not_keep():
    batch = next(StoryStream(0, 8, keep=(0.0, 0.0, 1.0, 0.0)))
    assert batch.n_steps.tolist() == [3] * 8
    with pytest.raises(ConfigError, match="four shares"):
        Stage("joint", 1, 0.1, 0.1, keep=(1.0, 2.0, 1.0, 1.0))


def state_of(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def curve_of(folder):
    rows = list(csv.DictReader((folder / "curve.csv").open()))
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def assert_same_run(one, other):
    """Bit for bit the same but for the time that it took."""
    a, b = state_of(one), state_of(other)
    for state in (a, b):
        state["progress"].pop("seconds")
    assert a["progress"] == b["progress"]
    assert a["waiting"] == b["waiting"]
    flat = [torch.utils._pytree.tree_flatten_with_path(state)[0] for state in (a, b)]
    assert [path for path, _ in flat[0]] == [path for path, _ in flat[1]]
    assert sum(torch.is_tensor(value) for _, value in flat[0]) > 50
    for (path, mine), (_, theirs) in zip(*flat, strict=True):
        assert torch.equal(mine, theirs) if torch.is_tensor(mine) else mine == theirs, path
    assert curve_of(one) == curve_of(other)


def run_on(folder, recipe, **changes):
    trainer = Trainer(recipe, options(folder, **{"evaluate_batches": 3, **changes}), 0, 1)
    trainer.resume()
    trainer.run()
    return trainer.progress.batch


STOPPED = replace(
    TINY,
    stages=(
        Stage("drill", 2, 0.002, 0.002),
        Stage("chain", 2, 0.002, 0.002),
        Stage("joint", 3, 0.002, 0.001),
        Stage("joint", 3, 0.001, 0.0, keep=(0.3, 0.6, 1.0, 1.0)),
    ),
    bfloat16=True,
)


def test_a_run_that_is_stopped_at_every_batch_is_the_one_that_never_stopped(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    assert run_on(one, STOPPED) == 10
    for batch in range(1, 11):
        assert run_on(other, STOPPED, stop_after_seconds=0.0) == batch
        assert bool(state_of(other)["waiting"]) == (batch > 2)
        assert len(state_of(other)["recent"]) == (batch % 3 if batch < 10 else 0)
    assert_same_run(one, other)
    assert [row["batch"] for row in curve_of(other)] == ["3", "6", "9", "10"]


def test_a_run_that_is_killed_behind_its_checkpoint_writes_no_row_twice(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    run_on(one, STOPPED)
    for _ in range(4):
        run_on(other, STOPPED, stop_after_seconds=0.0)
    checkpoint = (other / "checkpoint.pt").read_bytes()
    run_on(other, STOPPED)
    (other / "checkpoint.pt").write_bytes(checkpoint)
    with (other / "curve.csv").open("a") as file:
        file.write("7,1")  # half a row
    run_on(other, STOPPED)
    assert_same_run(one, other)


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_its_curve_again(tmp_path):
    (tmp_path / "one").mkdir()
    run_on(tmp_path / "one", STOPPED)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "curve.csv").write_bytes((tmp_path / "one" / "curve.csv").read_bytes())
    run_on(tmp_path / "other", STOPPED)
    assert_same_run(tmp_path / "one", tmp_path / "other")


def test_a_stream_goes_on_with_the_stories_that_wait():
    whole = StoryStream(0, 4)
    expected = [next(whole).question for _ in range(8)]
    stream = StoryStream(0, 4)
    for question in expected:
        assert torch.equal(next(stream).question, question)
        assert stream.waiting
        stream = StoryStream(stream.next_story, 4, waiting=stream.waiting)


def test_a_finished_run_is_left_as_it_is(tmp_path):
    Trainer(TINY, options(tmp_path), 0, 1).run()
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert train(TINY, options(tmp_path)).batch == TINY.total_batches
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_a_folder_of_another_recipe_is_refused_with_what_differs(tmp_path):
    run_on(tmp_path, TINY, stop_after_seconds=0.0)
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    stages = (TINY.stages[0], replace(TINY.stages[1], batches=3, lr_to=0.001), TINY.stages[2])
    other = replace(TINY, stages=stages, seed=7)
    expected = (
        r"stages\[1\].batches is 2 there, 3 here; stages\[1\].lr_to is 0.002 there, 0.001 here; seed is 0 there, 7"
    )
    with pytest.raises(ConfigError, match=expected):
        train(other, options(tmp_path))
    with pytest.raises(ConfigError, match="stages is 3 entries there, 1 entries here"):
        train(replace(TINY, stages=TINY.stages[:1]), options(tmp_path))
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept


@pytest.mark.parametrize("content", [b"", b"PK", b"no checkpoint"])
def test_a_damaged_checkpoint_is_named(tmp_path, content):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"checkpoint.pt cannot be read"):
        train(TINY, options(tmp_path))


def test_a_checkpoint_of_an_earlier_version_is_not_gone_on_from(tmp_path):
    torch.save({"model": {}, "projection": {}, "optimizers": [], "progress": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(DataError, match="no checkpoint that can be gone on from exactly"):
        train(TINY, options(tmp_path))


@pytest.mark.parametrize("workers", [0, 5])
def test_every_worker_has_a_part_of_a_batch(tmp_path, workers):
    with pytest.raises(ConfigError, match=f"{workers} workers cannot share batches of 4"):
        train(TINY, options(tmp_path, workers=workers))


BAD_VALUES = [
    ("n_layers", 0),
    ("n_layers", 2.0),
    ("n_layers", True),
    ("n_layers", "2"),
    ("n_layers", None),
    ("d_model", 25),
    ("d_model", -24),
    ("d_model", 16_386),
    ("d_mlp", 0),
    ("prj_dim", 0),
    ("n_thoughts", 33),
    ("batch_size", 0),
    ("batch_size", 4.5),
    ("drill_facts", 28),
    ("distill_weight", -1),
    ("distill_weight", [1]),
    ("fixed_word_weight", 10**300),
    ("weight_decay", 1.5),
    ("clip_norm", 0),
    ("clip_norm", "1"),
    ("bfloat16", 1),
    ("bfloat16", "yes"),
    ("seed", -1),
    ("seed", 2**63),
    ("stages", []),
    ("stages", {}),
    ("stages", [1]),
]
BAD_STAGES = [
    ("kind", 3),
    ("kind", []),
    ("batches", 0),
    ("batches", 1.5),
    ("batches", True),
    ("lr_from", -0.1),
    ("lr_to", 1.5),
    ("lr_to", "0"),
    ("keep", 1),
    ("keep", [1, 1, 1]),
    ("keep", [0, 0, 0, 0]),
    ("keep", [1, 1, 1, "1"]),
    ("keep", [0.0001, 0, 0, 0]),
    ("keep", [1, 1, 1, True]),
    ("keep", "1111"),
]


def refused(tmp_path, document):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(document))
    with pytest.raises((ConfigError, DataError)) as caught:
        Recipe.load(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2
    return caught.value


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_a_value_of_a_recipe_is_checked(tmp_path, name, value):
    assert name in refused(tmp_path, {**json.loads(json.dumps(TINY.to_dict())), name: value}).rule


@pytest.mark.parametrize(("name", "value"), BAD_STAGES)
def test_a_value_of_a_stage_is_checked(tmp_path, name, value):
    document = json.loads(json.dumps(TINY.to_dict()))
    document["stages"][1][name] = value
    assert name in refused(tmp_path, document).rule.lower()


def test_values_that_no_json_holds_are_checked_too():
    for name, value in (("clip_norm", float("nan")), ("distill_weight", float("inf"))):
        with pytest.raises(ConfigError, match=name):
            replace(TINY, **{name: value})


def test_a_recipe_that_fills_the_memory_is_refused():
    with pytest.raises(ConfigError, match="million weights"):
        replace(TINY, n_layers=100, d_model=6000, d_mlp=60_000)


def test_the_shipped_recipe_is_found_by_its_name_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Recipe.load("codi-mini").total_batches == 3350
    assert Recipe.load("codi-mini") == Recipe.load(Path(__file__).parents[2] / "experiments" / "codi-mini.json")
    with pytest.raises(DataError, match="There is no recipe"):
        Recipe.load("../recipes/codi-mini")
