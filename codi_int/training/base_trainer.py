"""A CODI model from a pretrained one: the loss of arXiv:2502.21074 on a Hugging Face model, LoRA or all weights.

    loss = CE(written chain and answer) + CE(answer after the thoughts)
           + weight * smooth-L1(student's states, teacher's states) at the token before the number

One model is teacher and student. `<bot>` and `<eot>` are read and never predicted, so in training they are two vectors
of their own, which are written into the table of embeddings in the end.
"""

import csv
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codi_int.errors import CheckpointError, ConfigError, DataError
from codi_int.files import explain_output_errors, replace_file
from codi_int.model.building import load_tokenizer, torch_device
from codi_int.model.codi import CodiConfig, Projection
from codi_int.model.store import save_model
from codi_int.training.base_batches import BaseBatch, BaseProblems, SpecialIds
from codi_int.training.base_recipe import BaseRecipe, check_base
from codi_int.training.checkpoint import CHECKPOINT, CURVE, differences, trim_curve
from codi_int.training.lora import add_lora, merge_all

TOKENS = {"pad": "<pad>", "bot": "<bot>", "eot": "<eot>"}
CLIP_NORM = 2.0
BATCHES_PER_ROW = 10
"""batches whose mean losses are one row of the curve"""


@dataclass(frozen=True)
class BaseLosses:
    """The parts of the loss on a batch, in nats where they are cross-entropies."""

    total: Tensor
    """what is minimised"""
    written: Tensor
    """of the written chain and its answer"""
    latent: Tensor
    """of the answer after the thoughts"""
    distance: Tensor
    """between the two chains' states"""


class BaseTrainer:
    """A pretrained model on its way to a CODI model."""

    def __init__(self, recipe: BaseRecipe, device: str = "cpu") -> None:
        """
        Raises:
            CheckpointError: the base cannot be read, or is of another shape than Llama's.
            DataError: the problems do not do.
        """
        self.recipe, self.device = recipe, torch_device(device)
        folder = Path(recipe.base).expanduser()
        config = check_base(folder)
        self.tokenizer = load_tokenizer(folder, config.vocab_size)
        if self.tokenizer.eos_token_id is None:
            raise CheckpointError(f"The tokenizer in {folder} has no end token.", "Name one in tokenizer_config.json.")
        added = [token for token in TOKENS.values() if token not in self.tokenizer.get_vocab()]
        self.tokenizer.add_special_tokens({"additional_special_tokens": added})
        ids = {name: self.tokenizer.convert_tokens_to_ids(token) for name, token in TOKENS.items()}
        self.special = SpecialIds(**ids, eos=self.tokenizer.eos_token_id)
        self.problems = BaseProblems(recipe, self.tokenizer, self.special)
        # rows of new tokens are drawn where the table grows, and the projection after them
        torch.manual_seed(recipe.seed)
        self.model = _read_model(folder, max(config.vocab_size, len(self.tokenizer)))
        if recipe.tune == "lora":
            add_lora(self.model, recipe.lora_r, recipe.lora_alpha, recipe.seed)
        width = config.hidden_size
        self.projection = Projection(width, width)
        table = self.model.get_input_embeddings().weight
        # a thought is read as a word is: about as long
        nn.init.constant_(self.projection.get_parameter("ln.weight"), float(table.detach().std()))
        self.marks = nn.Parameter(table[[self.special.bot, self.special.eot]].detach().clone().float())
        self.model.to(self.device)
        self.projection.to(self.device)
        self.marks.data = self.marks.data.to(self.device)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.parameters += [*self.projection.parameters(), self.marks]
        self.adam = torch.optim.AdamW(self.parameters, lr=0.0, betas=(0.9, 0.95), weight_decay=0.01)
        self.batch = 0

    def losses(self, batch: BaseBatch) -> BaseLosses:
        """The loss on a batch; gradients flow."""
        written, teacher = self._teach(batch)
        latent, student = self._think(batch)
        distances = []
        for own, goal in zip(student, teacher, strict=True):
            # detached: the student comes to the teacher; divided by its spread, each layer counts alike
            goal, scale = goal.detach(), goal.detach().std().clamp_min(1e-6)
            distances.append(F.smooth_l1_loss(own / scale, goal / scale))
        distance = torch.stack(distances).mean()
        total = written + latent + self.recipe.distill_weight * distance
        return BaseLosses(total, written.detach(), latent.detach(), distance.detach())

    def _teach(self, batch: BaseBatch) -> tuple[Tensor, list[Tensor]]:
        """Cross-entropy of what is written, and the states of all blocks before the number."""
        out = self.model(
            inputs_embeds=self._embed(batch.written),
            attention_mask=batch.written_mask.long(),
            output_hidden_states=True,
        )
        loss = _cross_entropy(out.logits[:, :-1], batch.written[:, 1:], batch.targets[:, 1:])
        return loss, _at(out.hidden_states, batch.colons[:, 1])

    def _think(self, batch: BaseBatch) -> tuple[Tensor, list[Tensor]]:
        """The same of the answer after the thoughts."""
        mask = batch.question_mask.long()
        positions = (mask.cumsum(1) - 1).clamp_min(0)
        out = self.model(
            inputs_embeds=self._embed(batch.question),
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            output_hidden_states=True,
        )
        last, one = positions[:, -1:], mask.new_ones(len(mask), 1)
        for i in range(self.recipe.n_thoughts):
            mask = torch.cat([mask, one], 1)
            out = self.model(
                inputs_embeds=self.projection(out.hidden_states[-1][:, -1:]).to(self._dtype),
                attention_mask=mask,
                position_ids=last + 1 + i,
                past_key_values=out.past_key_values,
                use_cache=True,
                output_hidden_states=True,
            )
        steps = torch.arange(batch.answer.shape[1], device=mask.device)
        out = self.model(
            inputs_embeds=self._embed(batch.answer),
            attention_mask=torch.cat([mask, batch.answer_mask.long()], 1),
            position_ids=last + 1 + self.recipe.n_thoughts + steps,
            past_key_values=out.past_key_values,
            use_cache=True,
            output_hidden_states=True,
        )
        loss = _cross_entropy(out.logits[:, :-1], batch.answer[:, 1:], batch.answer_mask[:, 1:])
        return loss, _at(out.hidden_states, batch.colons[:, 0])

    @property
    def _dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.model.get_input_embeddings().weight.dtype
        return dtype

    def _embed(self, ids: Tensor) -> Tensor:
        """Input vectors; those of <bot> and <eot> are the ones in training."""
        x: Tensor = self.model.get_input_embeddings()(ids)
        for place, mark in enumerate((self.special.bot, self.special.eot)):
            x = torch.where((ids == mark)[..., None], self.marks[place].to(x.dtype), x)
        return x

    def step(self) -> BaseLosses:
        """One optimizer step on the next batch."""
        for group in self.adam.param_groups:
            group["lr"] = self.recipe.rate_at(self.batch)
        batch = self.problems.batch(self.batch).to(self.device)
        narrow = self.recipe.dtype == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=narrow):
            losses = self.losses(batch)
        self.adam.zero_grad(set_to_none=True)
        losses.total.backward()
        nn.utils.clip_grad_norm_(self.parameters, CLIP_NORM)
        self.adam.step()
        self.batch += 1
        return losses

    def save(self, folder: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "recipe": self.recipe.to_dict(),
            "batch": self.batch,
            "weights": [parameter.detach().cpu() for parameter in self.parameters],
            "adam": self.adam.state_dict(),
        }
        needs = 3 * sum(parameter.nbytes for parameter in self.parameters)
        replace_file(folder / CHECKPOINT, lambda part: torch.save(state, part), needs=needs, durable=True)

    @torch.no_grad()
    def resume(self, folder: Path) -> bool:
        """Go on from the folder's checkpoint, where it has one.

        Raises:
            DataError: it cannot be read.
            ConfigError: it belongs to another recipe.
        """
        path = folder / CHECKPOINT
        if not path.exists():
            return False
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
            saved, weights, adam, batch = state["recipe"], state["weights"], state["adam"], int(state["batch"])
        except Exception as error:  # torch raises a dozen kinds for broken files
            raise DataError(f"{path} cannot be read ({type(error).__name__}).", "Train into another folder.") from error
        if odd := list(differences(saved, self.recipe.to_dict())):
            raise ConfigError(
                f"{folder} holds a run of another recipe: {'; '.join(odd[:3])}.",
                "Give the settings that it was begun with, or another folder (--out).",
            )
        for parameter, weight in zip(self.parameters, weights, strict=True):
            parameter.copy_(weight)
        self.adam.load_state_dict(adam)
        self.batch = batch
        return True

    @torch.no_grad()
    def export(self, folder: Path, name: str) -> None:
        """Save the model in the native format; nothing can be trained here afterwards.

        Raises:
            OutputError: the folder cannot be written to.
        """
        merge_all(self.model)
        table = self.model.get_input_embeddings().weight
        table[[self.special.bot, self.special.eot]] = self.marks.to(table)
        config = CodiConfig(
            pad_id=self.special.pad,
            bot_id=self.special.bot,
            eot_id=self.special.eot,
            eos_id=self.special.eos,
            prj_dim=self.model.config.hidden_size,
            n_thoughts=self.recipe.n_thoughts,
            name=name,
            provenance={"recipe": self.recipe.to_dict(), "progress": {"batch": self.batch}},
        )
        save_model(folder, self.model.cpu(), self.projection.cpu(), config, self.tokenizer)


def train_base(
    trainer: BaseTrainer,
    folder: Path,
    stop_after_seconds: float = float("inf"),
    checkpoint_seconds: float = 600.0,
    tell: Callable[[str], None] | None = None,
) -> int:
    """Train to the recipe's end, or to a time limit; goes on where the folder's checkpoint stands.

    Args:
        trainer: a new one, or one that was resumed.
        folder: of checkpoint and curve.
        stop_after_seconds: stop with a checkpoint after this time.
        checkpoint_seconds: time between checkpoints.
        tell: called with a line about the losses now and then.

    Returns:
        how many batches are done.

    Raises:
        OutputError: the folder cannot be written to.
    """
    recipe = trainer.recipe
    trim_curve(folder / CURVE, trainer.batch)
    started = saved = time.monotonic()
    recent: list[BaseLosses] = []
    while trainer.batch < recipe.batches:
        recent.append(trainer.step())
        now, last = time.monotonic(), trainer.batch == recipe.batches
        over = now - started > stop_after_seconds
        if len(recent) == BATCHES_PER_ROW or last or over:
            names = [field.name for field in fields(BaseLosses)]
            means = {name: float(torch.stack([getattr(one, name) for one in recent]).mean()) for name in names}
            _add_row(folder / CURVE, {"batch": trainer.batch, **{k: f"{v:.4f}" for k, v in means.items()}})
            if tell is not None:
                parts = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
                tell(f"batch {trainer.batch:,} of {recipe.batches:,}: {parts}")
            recent = []
        if over or last or now - saved > checkpoint_seconds:
            trainer.save(folder)
            saved = now
        if over:
            break
    return trainer.batch


def _add_row(path: Path, row: dict[str, Any]) -> None:
    fresh = not path.exists()
    with explain_output_errors(path, kept="The last checkpoint is kept"), path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def _read_model(folder: Path, vocab_size: int) -> Any:
    """The base in float32, with room for all tokens; CheckpointError where its weights cannot be read."""
    from transformers import AutoModelForCausalLM

    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, dtype=torch.float32, attn_implementation="sdpa"
        )
    except Exception as error:  # transformers raises whatever its readers stumble on
        raise CheckpointError(
            f"The weights in {folder} cannot be read ({type(error).__name__}).",
            "Give the folder with config.json and model.safetensors as they were downloaded.",
        ) from error
    if model.get_input_embeddings().weight.shape[0] < vocab_size:
        model.resize_token_embeddings(vocab_size)
    return model.train()


def _cross_entropy(logits: Tensor, ids: Tensor, counted: Tensor) -> Tensor:
    ce = F.cross_entropy(logits.float().flatten(0, 1), ids.flatten(), reduction="none").view_as(ids)
    return (ce * counted).sum() / counted.sum()


def _at(hidden: tuple[Tensor, ...], columns: Tensor) -> list[Tensor]:
    """The states of every block [batch, d_model] at one token of each row; the embedding is none of them."""
    rows = torch.arange(len(columns), device=columns.device)
    return [states[rows, columns].float() for states in hidden[1:]]
