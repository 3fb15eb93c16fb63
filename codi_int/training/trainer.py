"""The training loop: data-parallel workers, checkpoints that a killed run goes on from, a curve in a CSV file."""

import csv
import math
import signal
import sys
import time
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessRaisedException, spawn
from transformers import LlamaConfig, LlamaForCausalLM

from codi_int.data import story_tokenizer as st
from codi_int.data.stories import MAX_NUMBER, load_stories
from codi_int.errors import DataError, OutputError
from codi_int.files import explain_output_errors, replace_file
from codi_int.model.codi import CodiConfig, Projection
from codi_int.model.store import save_model
from codi_int.training.batches import COLON, DrillStream, StoryStream, batches_by_length
from codi_int.training.network import TrainingNetwork
from codi_int.training.objective import (
    Losses,
    drill_loss,
    read_question_and_chain,
    story_loss,
    think,
    written_logits,
)
from codi_int.training.recipe import Recipe, Stage

MAX_POSITIONS = 192
EMBEDDING_STD = 0.1
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
    """write a line on stderr at every look at held-out stories"""


@dataclass
class TrainingState:
    """How far a run has come."""

    batch: int = 0
    next_story: int = 0
    seconds: float = 0.0


Progress = TrainingState  # its earlier name, for one release; elsewhere `Progress` is the callback


@dataclass(frozen=True)
class Accuracy:
    """Quick accuracies with the answer's fixed words given."""

    latent: float
    """share right through the thoughts"""
    written: float
    """share whose whole written chain and answer is predicted token by token"""
    latent_by_steps: tuple[float, ...]
    """the first, for stories of 1, 2, 3 and 4 steps"""


def build_model(recipe: Recipe) -> LlamaForCausalLM:
    """A fresh model; number tokens start out with periodic features of their value."""
    torch.manual_seed(recipe.seed)
    bos, eos, pad = st.encode_special(st.BOS, st.EOS, st.PAD)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(st.vocabulary()),
            hidden_size=recipe.d_model,
            intermediate_size=recipe.d_mlp,
            num_hidden_layers=recipe.n_layers,
            num_attention_heads=recipe.n_heads,
            num_key_value_heads=recipe.n_heads,
            max_position_embeddings=MAX_POSITIONS,
            tie_word_embeddings=True,
            bos_token_id=bos,
            eos_token_id=eos,
            pad_token_id=pad,
        )
    )
    residual_std = 0.5 / math.sqrt(recipe.d_model * 2 * recipe.n_layers)
    with torch.no_grad():
        embedding = model.model.embed_tokens.weight.normal_(0, EMBEDDING_STD)
        first = st.encode_words("0")[0]
        numbers = _number_features(recipe.d_model) * EMBEDDING_STD + torch.randn(MAX_NUMBER + 1, recipe.d_model) * 0.05
        embedding[first : first + MAX_NUMBER + 1] = numbers
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.normal_(0, residual_std)
            elif "proj.weight" in name:
                weight.normal_(0, 0.5 / math.sqrt(recipe.d_model))
    return model


def _number_features(d_model: int) -> Tensor:
    """Sines and cosines of each number's value and of its logarithm, [100, d_model], about unit variance."""
    n = torch.arange(MAX_NUMBER + 1, dtype=torch.float32)
    log = torch.log2(n + 1)
    waves = [2 * math.pi * n / period for period in (2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 25, 50, 100, 200)]
    waves += [2 * math.pi * log / period for period in (0.5, 1.0, 2.0, 4.0, 8.0, 14.0)]
    features = torch.stack([f(wave) for wave in waves for f in (torch.sin, torch.cos)], dim=1)
    out = torch.zeros(MAX_NUMBER + 1, d_model)
    width = min(d_model, features.shape[1])
    out[:, :width] = features[:, :width]
    return out * 1.2


class Trainer:
    """One worker's share of a training run."""

    def __init__(self, recipe: Recipe, options: RunOptions, rank: int, world: int) -> None:
        self.recipe, self.options, self.rank, self.world = recipe, options, rank, world
        self.model = build_model(recipe)
        self.projection = Projection(recipe.d_model, recipe.prj_dim)
        nn.init.constant_(self.projection.get_parameter("ln.weight"), EMBEDDING_STD * 2)
        self.parameters = [*self.model.parameters(), *self.projection.parameters()]
        self.optimizers = self._optimizers()
        self.progress = TrainingState()
        self.dtype = torch.bfloat16 if recipe.bfloat16 else torch.float32
        self.interrupted = False
        self.validation = list(load_stories("validation", options.evaluate_stories))

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        """Muon for the blocks' matrices, AdamW for everything else."""
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
        started, last_checkpoint = time.monotonic() - self.progress.seconds, time.monotonic()
        begun = time.monotonic()
        stream: StoryStream | DrillStream | None = None
        kind = ""
        current: Stage | None = None
        recent: list[Losses] = []
        while self.progress.batch < self.recipe.total_batches:
            stage, lr = self.recipe.at(self.progress.batch)
            if stream is None or stage != current:
                stream, current = self._stream(stage), stage
            kind = stage.kind
            recent.append(self._step(next(stream), kind, lr))
            self.progress.batch += 1
            self.progress.next_story = stream.next_story
            self.progress.seconds = time.monotonic() - started
            over = self._agree(self.interrupted or time.monotonic() - begun > self.options.stop_after_seconds)
            if self.progress.batch % self.options.evaluate_batches == 0 or over:
                self._report(kind, lr, recent)
                recent = []
            if self._agree(time.monotonic() - last_checkpoint > self.options.checkpoint_seconds) or over:
                self.save()
                last_checkpoint = time.monotonic()
            if over:
                return
        self._report(kind, lr, recent)
        self.save()

    def _stream(self, stage: Stage) -> StoryStream | DrillStream:
        size = self.recipe.batch_size
        if stage.kind == "drill":
            return DrillStream(self.progress.next_story, size, self.recipe.drill_facts)
        return StoryStream(self.progress.next_story, size, stage.keep)

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
        return Losses(*(getattr(losses, name).detach() for name in losses.__dataclass_fields__))

    def _average_gradients(self) -> None:
        for p in self.parameters:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        if self.world == 1:
            return
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
            latent.append(net.logits(answer.final[:, COLON]).argmax(-1) == batch.answer[:, COLON + 1])
            steps.append(batch.n_steps)
        right, n = torch.cat(latent).float(), torch.cat(steps)
        by_steps = tuple(float(right[n == k].mean()) for k in (1, 2, 3, 4))
        return Accuracy(float(right.mean()), float(torch.cat(written).float().mean()), by_steps)

    def _report(self, kind: str, lr: float, recent: list[Losses]) -> None:
        if self.rank or not recent:
            return
        accuracy = self.evaluate()
        means = {n: float(torch.stack([getattr(r, n) for r in recent]).mean()) for n in Losses.__dataclass_fields__}
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
        path = self.options.folder / "curve.csv"
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
        state = {
            "model": self.model.state_dict(),
            "projection": self.projection.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": asdict(self.progress),
        }
        path = self.options.folder / "checkpoint.pt"
        replace_file(path, lambda part: torch.save(state, part), durable=True)

    def resume(self) -> bool:
        """Go on from the checkpoint in the folder, if there is one."""
        path = self.options.folder / "checkpoint.pt"
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.projection.load_state_dict(state["projection"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.progress = TrainingState(**state["progress"])
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
    """Save the model of a run's checkpoint in our own format, which `load_model` and plain `transformers` read."""
    trainer = Trainer(recipe, RunOptions(run, workers=1, evaluate_stories=1), 0, 1)
    if not trainer.resume():
        raise DataError(f"{run} holds no checkpoint.", "Train first: codi-int train-codi --recipe FILE --out DIR.")
    config = replace(
        codi_config(recipe, name), provenance={"recipe": recipe.to_dict(), "progress": asdict(trainer.progress)}
    )
    save_model(target, trainer.model, trainer.projection, config, st.build_tokenizer())


def _worker(rank: int, recipe: Recipe, options: RunOptions, errors: "SimpleQueue[tuple[str, str]]") -> None:
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

    Returns:
        how far the run has come.

    Raises:
        OutputError: a full disk, a folder that cannot be written to; the last checkpoint is kept.
    """
    folder = options.folder.resolve()
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
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    return TrainingState(**state["progress"])
