"""The recipe of a training run: everything that decides its result, kept as a JSON file."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codi_int.errors import ConfigError, DataError
from codi_int.files import read_json

STAGE_KINDS = ("drill", "chain", "joint")


@dataclass(frozen=True)
class Stage:
    """One stretch of training."""

    kind: str
    """drill: bare calculations; chain: stories with the written chain alone; joint: the full CODI loss"""
    batches: int
    """optimizer steps"""
    lr_from: float
    """learning rate at its start"""
    lr_to: float
    """learning rate at its end; linear in between"""
    keep: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    """share of the stories of 1, 2, 3 and 4 steps that is trained on; the others are passed over"""

    def __post_init__(self) -> None:
        if self.kind not in STAGE_KINDS:
            raise ConfigError(f"Stage kind {self.kind!r} does not exist.", f"Kinds: {', '.join(STAGE_KINDS)}.")
        if self.batches < 1 or self.lr_from < 0 or self.lr_to < 0:
            raise ConfigError(f"Stage {self.kind}: batches must be positive and learning rates not negative.")
        if len(self.keep) != 4 or not all(0 <= share <= 1 for share in self.keep) or not any(self.keep):
            raise ConfigError(f"Stage {self.kind}: keep is {self.keep}.", "It is four shares from 0 to 1, not all 0.")


@dataclass(frozen=True)
class Recipe:
    """A CODI model and how it is trained on stories."""

    stages: tuple[Stage, ...]
    """in order"""
    n_layers: int = 16
    """blocks"""
    d_model: int = 96
    """width of the residual"""
    n_heads: int = 3
    """attention heads"""
    d_mlp: int = 256
    """width of the gated MLP"""
    prj_dim: int = 96
    """width of the projection's hidden layer"""
    n_thoughts: int = 6
    """continuous thoughts"""
    batch_size: int = 128
    """stories (or drill lines) per optimizer step"""
    drill_facts: int = 12
    """calculations per drill line"""
    distill_weight: float = 20.0
    """weight of the smooth-L1 distance at the token before the answer (20 in the published recipe)"""
    fixed_word_weight: float = 0.1
    """weight of the answer's fixed words beside its number"""
    weight_decay: float = 0.01
    """decoupled weight decay"""
    clip_norm: float = 1.0
    """largest norm of the gradient"""
    bfloat16: bool = True
    """products inside the blocks in bfloat16; weights, residual and attention stay float32"""
    seed: int = 0
    """seed of the initial weights"""

    def __post_init__(self) -> None:
        if not self.stages:
            raise ConfigError("A recipe needs at least one stage.")
        if self.d_model % (2 * self.n_heads):
            raise ConfigError(f"d_model {self.d_model} must be a multiple of twice n_heads ({self.n_heads}).")

    @property
    def total_batches(self) -> int:
        """Optimizer steps of the whole run."""
        return sum(stage.batches for stage in self.stages)

    def at(self, batch: int) -> tuple[Stage, float]:
        """The stage and the learning rate of optimizer step `batch`."""
        for stage in self.stages:
            if batch < stage.batches:
                return stage, stage.lr_from + (stage.lr_to - stage.lr_from) * batch / stage.batches
            batch -= stage.batches
        return self.stages[-1], self.stages[-1].lr_to

    def to_dict(self) -> dict[str, Any]:
        """The recipe in JSON types."""
        return asdict(self)

    @classmethod
    def load(cls, path: Path) -> "Recipe":
        """Read a recipe file; DataError where it is no recipe."""
        if not path.exists():
            raise DataError(f"There is no recipe at {path}.", "Give the path of a recipe's JSON file.")
        remedy = "Compare with experiments/codi-mini.json."
        data = read_json(path, remedy=remedy)
        try:
            return cls(**{**data, "stages": tuple(_stage(stage) for stage in data["stages"])})
        except (KeyError, TypeError) as error:
            raise DataError(f"{path} is no recipe: {error}.", remedy) from None


def _stage(data: dict[str, Any]) -> Stage:
    return Stage(**{**data, "keep": tuple(map(float, data["keep"]))} if "keep" in data else data)
