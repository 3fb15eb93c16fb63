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
    train(TINY, options(tmp_path))
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
    train(TINY, options(tmp_path, stop_after_seconds=0.0))
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    (tmp_path / "curve.csv").unlink()
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
    states = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        train(recipe, options(folder, workers=workers))
        states.append(torch.load(folder / "checkpoint.pt", weights_only=True)["model"])
    for name in states[0]:
        assert_close(states[0][name], states[1][name], atol=2e-4, rtol=2e-3, msg=lambda m, name=name: f"{name}: {m}")


def test_recipes_are_read_back_and_refused(tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(TINY.to_dict()))
    assert Recipe.load(path) == TINY
    path.write_text('{"stages": [{"kind": "dance", "batches": 1, "lr_from": 0.0, "lr_to": 0.0}]}')
    with pytest.raises(ConfigError, match="drill, chain, joint"):
        Recipe.load(path)
    path.write_text("{")
    with pytest.raises(DataError, match="no JSON"):
        Recipe.load(path)
    with pytest.raises(DataError, match="There is no recipe"):
        Recipe.load(tmp_path / "nothing.json")


def test_learning_rate_is_linear_within_a_stage():
    recipe = replace(TINY, stages=(Stage("drill", 2, 0.1, 0.1), Stage("joint", 4, 0.4, 0.0)))
    assert [round(recipe.at(b)[1], 3) for b in range(6)] == [0.1, 0.1, 0.4, 0.3, 0.2, 0.1]


def test_a_stage_passes_over_the_stories_it_does_not_keep():
    batch = next(StoryStream(0, 8, keep=(0.0, 0.0, 1.0, 0.0)))
    assert batch.n_steps.tolist() == [3] * 8
    with pytest.raises(ConfigError, match="four shares"):
        Stage("joint", 1, 0.1, 0.1, keep=(1.0, 2.0, 1.0, 1.0))
