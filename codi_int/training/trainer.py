"""The training loop: data-parallel workers, checkpoints that a killed run goes on from, a curve in a CSV file."""

import csv
import math
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessRaisedException, spawn
from torch.utils._pytree import tree_leaves

from codi_int.data import story_tokenizer as st
from codi_int.data.stories import load_stories
from codi_int.errors import CheckpointError, ConfigError, DataError, OutputError
from codi_int.files import explain_output_errors, replace_file
from codi_int.model.codi import CodiConfig
from codi_int.model.store import is_native_format, read_settings, save_model
from codi_int.training.batches import DrillStream, StoryStream, batches_by_length
from codi_int.training.checkpoint import CHECKPOINT, CURVE, TrainingState, read_checkpoint, trim_curve
from codi_int.training.initial import build_model, build_projection
from codi_int.training.network import TrainingNetwork
from codi_int.training.objective import (
    Losses,
    drill_loss,
    number_right,
    read_question_and_chain,
    story_loss,
    think,
    written_logits,
)
from codi_int.training.recipe import Recipe, Stage

LOSS_NAMES = tuple(field.name for field in fields(Losses))
SECONDS_BETWEEN_LINES = 10.0
KEPT = "The last checkpoint is kept"


@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out; nothing here changes what is learnt, up to the order of summation."""

    folder: Path
    """where checkpoint, curve and model go"""
    workers: int = 2
    """processes; each takes its share of every batch on one thread"""
    checkpoint_seconds: float = 300.0
    """time between checkpoints"""
    evaluate_batches: int = 250
    """optimizer steps between looks at held-out stories"""
    evaluate_stories: int = 512
    """how many of them"""
    stop_after_seconds: float = math.inf
    """stop with a checkpoint after this time"""
    verbose: bool = False
    """write a line on stderr at every look at held-out stories, and now and then how far the run is"""


Progress = TrainingState  # its earlier name, for one release; elsewhere `Progress` is the callback


@dataclass(frozen=True)
class Accuracy:
    """Quick accuracies with the answer's fixed words given."""

    latent: float
    """share right through the thoughts"""
    written: float
    """share whose whole written chain and answer is predicted token by token"""
    latent_by_steps: tuple[float, ...]
    """the first, for stories of 1, 2, 3, ... steps"""


class Trainer:
    """One worker's share of a training run."""

    def __init__(self, recipe: Recipe, options: RunOptions, rank: int, world: int) -> None:
        self.recipe, self.options, self.rank, self.world = recipe, options, rank, world
        self.model = build_model(recipe)
        self.projection = build_projection(recipe)
        self.parameters = [*self.model.parameters(), *self.projection.parameters()]
        self.optimizers = self._optimizers()
        self.progress = TrainingState()
        self.waiting: Sequence[int] = ()
        self.recent: list[Losses] = []
        self.dtype = torch.bfloat16 if recipe.bfloat16 else torch.float32
        self.interrupted = False
        self.validation = list(load_stories("validation", options.evaluate_stories, recipe.kind))

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        """Muon for the blocks' matrices, AdamW for everything else."""
        # Muon orthogonalises updates of matrices; tables of embeddings and norms are not what it is made for
        matrices = [w for n, w in self.model.named_parameters() if "proj.weight" in n]
        chosen = {id(w) for w in matrices}
        rest = [w for w in self.parameters if id(w) not in chosen]
        decay = self.recipe.weight_decay
        return [
            torch.optim.Muon(matrices, lr=0.0, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=0.0, weight_decay=decay, betas=(0.9, 0.98), foreach=True),
        ]

    def run(self) -> None:
        """Train to the end of the recipe, or to the time limit."""
        begun = last_checkpoint = time.monotonic()
        started, first, told = begun - self.progress.seconds, self.progress.batch, -math.inf
        if not self.rank:
            trim_curve(self.options.folder / CURVE, self.progress.batch)
        stream, current = self._resumed_stream()
        while self.progress.batch < self.recipe.total_batches:
            stage, lr = self.recipe.at(self.progress.batch)
            if stream is None or stage != current:
                stream, current = self._stream(stage), stage
            self.recent.append(self._step(next(stream), stage.kind, lr))
            self.progress.batch += 1
            self.progress.next_story = stream.next_story
            self.progress.seconds = time.monotonic() - started
            self.waiting = stream.waiting
            over = self._agree(self.interrupted or time.monotonic() - begun > self.options.stop_after_seconds)
            finished = self.progress.batch == self.recipe.total_batches
            if time.monotonic() - told > SECONDS_BETWEEN_LINES:
                told = time.monotonic()
                self._tell_pace(told - begun, self.progress.batch - first)
            # where a run is stopped is no point of its curve: the losses up to there wait in the checkpoint
            if self.progress.batch % self.options.evaluate_batches == 0 or finished:
                self._report(stage.kind, lr)
                self.recent = []
            if self._agree(time.monotonic() - last_checkpoint > self.options.checkpoint_seconds) or over or finished:
                self.save()
                last_checkpoint = time.monotonic()
            if over:
                return

    def _tell_pace(self, seconds: float, batches: int) -> None:
        """How far the run is, and how long it still takes at the pace of its last `batches`."""
        if self.rank or not self.options.verbose:
            return
        total = self.recipe.total_batches
        left = min(seconds / batches * (total - self.progress.batch), self.options.stop_after_seconds - seconds)
        spans = [timedelta(seconds=max(0, round(span))) for span in (seconds, left)]
        sys.stderr.write(f"batch {self.progress.batch:,} of {total:,} · {spans[0]} gone, {spans[1]} left\n")

    def _resumed_stream(self) -> tuple[StoryStream | DrillStream | None, Stage | None]:
        """The stream that the last batch came from, and that batch's stage; None at the beginning.

        Not the stage of the next batch: at the border of two stages the stories that wait are dropped, and whether
        there is a border is for `run` to find, resumed or not.
        """
        if not self.progress.batch:
            return None, None
        stage, _ = self.recipe.at(self.progress.batch - 1)
        return self._stream(stage, self.waiting), stage

    def _stream(self, stage: Stage, waiting: Sequence[int] = ()) -> StoryStream | DrillStream:
        size = self.recipe.batch_size
        if stage.kind == "drill":
            return DrillStream(self.progress.next_story, size, self.recipe.drill_facts, self.recipe.kind)
        return StoryStream(self.progress.next_story, size, stage.keep, waiting, self.recipe.kind)

    def _step(self, batch: Any, kind: str, lr: float) -> Losses:
        part = batch.part(self.rank, self.world)
        net = TrainingNetwork(self.model, self.dtype)
        if kind == "drill":
            losses = drill_loss(net, part)
        else:
            losses = story_loss(net, self.projection, part, self.recipe, kind == "joint")
        for optimizer in self.optimizers:
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = lr
        losses.total.backward()
        self._average_gradients()
        nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        return Losses(*(getattr(losses, name).detach() for name in LOSS_NAMES))

    def _average_gradients(self) -> None:
        # drills and chains leave the projection without gradients; zeros keep the workers' flat tensors alike
        for p in self.parameters:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        if self.world == 1:
            return
        # one message instead of a hundred and fifty
        grads = [p.grad for p in self.parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in grads])
        dist.all_reduce(flat)
        for g, piece in zip(grads, (flat / self.world).split([g.numel() for g in grads]), strict=True):
            g.copy_(piece.view_as(g))

    def _agree(self, wish: bool) -> bool:
        """What the first worker wishes, so that all do the same."""
        if self.world == 1:
            return wish
        flag = torch.tensor([float(wish)])
        dist.broadcast(flag, 0)
        return bool(flag.item())

    @torch.no_grad()
    def evaluate(self) -> Accuracy:
        """Quick accuracies on the first held-out stories, in float32."""
        net = TrainingNetwork(self.model)
        latent, written, steps = [], [], []
        for batch in batches_by_length(self.validation, 128):
            read = read_question_and_chain(net, batch)
            exact = (written_logits(net, read, batch).argmax(-1) == batch.written) | ~batch.written_mask
            written.append(exact.all(1))
            answer = think(net, self.projection, read, batch, self.recipe.n_thoughts)
            latent.append(number_right(net.logits(answer.final), batch))
            steps.append(batch.n_steps)
        right, n = torch.cat(latent).float(), torch.cat(steps)
        by_steps = tuple(float(right[n == k].mean()) for k in range(1, self.recipe.kind.max_steps + 1))
        return Accuracy(float(right.mean()), float(torch.cat(written).float().mean()), by_steps)

    def _report(self, kind: str, lr: float) -> None:
        """A row of the curve: the means of the losses since the last row, and accuracies on held-out stories."""
        if self.rank:
            return
        recent = self.recent
        accuracy = self.evaluate()
        means = {n: float(torch.stack([getattr(r, n) for r in recent]).mean()) for n in LOSS_NAMES}
        row = {
            "seconds": round(self.progress.seconds),
            "batch": self.progress.batch,
            "stories": self.progress.next_story,
            "stage": kind,
            "lr": f"{lr:.2e}",
            **{name: f"{value:.4f}" for name, value in means.items()},
            "held_out_latent": f"{accuracy.latent:.4f}",
            "held_out_written": f"{accuracy.written:.4f}",
            **{f"held_out_latent_{k}": f"{a:.3f}" for k, a in enumerate(accuracy.latent_by_steps, 1)},
        }
        path = self.options.folder / CURVE
        fresh = not path.exists()
        # appended to, not replaced: a curve of days is not written again for each point
        with explain_output_errors(path, kept=KEPT), path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        if self.options.verbose:
            sys.stderr.write(
                f"batch {self.progress.batch}/{self.recipe.total_batches} ({kind}): loss {means['total']:.3f}, "
                f"held-out accuracy {accuracy.latent:.3f} through thoughts, {accuracy.written:.3f} in writing\n"
            )

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        if self.rank:
            return
        # everything that decides what comes next; a resumed run is bit for bit the one that was never stopped
        state = {
            "recipe": self.recipe.to_dict(),
            "model": self.model.state_dict(),
            "projection": self.projection.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": asdict(self.progress),
            "waiting": list(self.waiting),
            # one tensor [batches, parts], for torch writes a file of its own for each tensor
            "recent": torch.tensor([[float(getattr(losses, name)) for name in LOSS_NAMES] for losses in self.recent]),
        }
        needs = sum(leaf.nbytes for leaf in tree_leaves(state) if isinstance(leaf, Tensor))
        replace_file(self.options.folder / CHECKPOINT, lambda part: torch.save(state, part), needs=needs, durable=True)

    def resume(self) -> bool:
        """Go on from the checkpoint in the folder, if there is one; errors as for `read_checkpoint`."""
        state = read_checkpoint(self.options.folder, self.recipe)
        if state is None:
            return False
        self.model.load_state_dict(state["model"])
        self.projection.load_state_dict(state["projection"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.progress = TrainingState(**state["progress"])
        self.waiting = state["waiting"]
        self.recent = [Losses(*parts) for parts in state["recent"]]
        return True


def codi_config(recipe: Recipe, name: str) -> CodiConfig:
    """The settings under which a trained model is saved."""
    pad, bot, eot, eos = st.encode_special(st.PAD, st.BOT, st.EOT, st.EOS)
    return CodiConfig(
        pad_id=pad,
        bot_id=bot,
        eot_id=eot,
        eos_id=eos,
        prj_dim=recipe.prj_dim,
        n_thoughts=recipe.n_thoughts,
        max_new_tokens=12,
        name=name,
        provenance={"recipe": recipe.to_dict()},
    )


def export(run: Path, recipe: Recipe, target: Path, name: str) -> None:
    """Save the model of a run's checkpoint in the native format, which `load_model` and plain `transformers` read."""
    trainer = Trainer(recipe, RunOptions(run, workers=1, evaluate_stories=1), 0, 1)
    if not trainer.resume():
        raise DataError(f"{run} holds no checkpoint.", "Train first: codi-int train-codi --recipe FILE --out DIR.")
    config = replace(
        codi_config(recipe, name), provenance={"recipe": recipe.to_dict(), "progress": asdict(trainer.progress)}
    )
    save_model(target, trainer.model, trainer.projection, config, st.build_tokenizer(recipe.kind.max_number))


def is_exported(run: Path, recipe: Recipe, target: Path, name: str) -> bool:
    """Whether `target` holds, whole and under this name, the model of the run's checkpoint as it is now."""
    state = read_checkpoint(run, recipe)
    if state is None or not is_native_format(target):
        return False
    try:
        settings = read_settings(target)
    except CheckpointError:
        return False
    # a stopped run exports its model so far, so a model that is there may be of an earlier checkpoint
    return settings.name == name and settings.provenance.get("progress") == state["progress"]


def _worker(rank: int, recipe: Recipe, options: RunOptions, errors: "SimpleQueue[tuple[str, str]]") -> None:
    # one thread a worker: sums are then made in one order, and two workers share two cores without waiting
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    world = options.workers
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{options.folder}/rendezvous", rank=rank, world_size=world)
    try:
        trainer = Trainer(recipe, options, rank, world)
        trainer.resume()
        signal.signal(signal.SIGINT, lambda *_: setattr(trainer, "interrupted", True))
        trainer.run()
    except OutputError as error:
        errors.put((error.rule, error.remedy))
        raise
    finally:
        if world > 1:
            dist.destroy_process_group()


def train(recipe: Recipe, options: RunOptions) -> TrainingState:
    """Carry out a recipe; a run that was stopped goes on where its last checkpoint stands.

    Ctrl-C ends the run after the step in hand, with a checkpoint.

    A stopped run that goes on with as many workers gives bit for bit the weights, and the curve but for its seconds,
    of one that was never stopped. A finished run is left as it is.

    Returns:
        how far the run has come.

    Raises:
        OutputError: a full disk, a folder that cannot be written to; the last checkpoint is kept.
        ConfigError: the folder holds a run of another recipe.
        DataError: its checkpoint cannot be read.
    """
    if not 1 <= options.workers <= recipe.batch_size:
        raise ConfigError(
            f"{options.workers} workers cannot share batches of {recipe.batch_size}.",
            f"Take 1 to {recipe.batch_size} workers (--workers), each of which has a part of every batch.",
        )
    folder = options.folder.resolve()
    # looked at here, for what a worker raises would come back as the text of its traceback
    state = read_checkpoint(folder, recipe)
    if state is not None and state["progress"]["batch"] >= recipe.total_batches:
        return TrainingState(**state["progress"])
    with explain_output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rendezvous").unlink(missing_ok=True)
    options = replace(options, folder=folder)
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the workers end the run themselves
    # `spawn` hands on the text of a worker's traceback, not its error: a full disk would look like a bug
    errors: SimpleQueue[tuple[str, str]] = get_context("spawn").SimpleQueue()
    try:
        spawn(_worker, (recipe, options, errors), nprocs=options.workers)
    except ProcessRaisedException:
        if errors.empty():
            raise
        raise OutputError(*errors.get()) from None
    finally:
        signal.signal(signal.SIGINT, handler)
    state = read_checkpoint(folder, recipe)
    assert state is not None, "a run ends with a checkpoint"
    return TrainingState(**state["progress"])
