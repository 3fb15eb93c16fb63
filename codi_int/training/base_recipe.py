"""What decides a CODI model that is made of a pretrained one, and the check that such a model can be made of it."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codi_int.errors import CheckpointError, ConfigError
from codi_int.model.building import read_hf_config

TUNINGS = ("lora", "full")
SHAPES = ("llama", "qwen2")
"""architectures that can be trained: those whose blocks are Llama's"""
RATES = {"lora": 8e-4, "full": 2e-5}
"""peak learning rates: the published one of LoRA, and an ordinary one for all weights"""


@dataclass(frozen=True)
class BaseRecipe:
    """A training run on a pretrained model; the defaults are those published for CODI (arXiv:2502.21074)."""

    base: str
    """folder of the model"""
    data: str
    """name or file of the problems, which have written steps"""
    tune: str = "lora"
    """`lora` or `full`"""
    batches: int = 1000
    """optimizer steps"""
    batch_size: int = 32
    """problems of each"""
    learning_rate: float | None = None
    """peak of a cosine with a warm-up; None for that of `RATES`"""
    lora_r: int = 128
    """LoRA's rank"""
    lora_alpha: float = 32.0
    """LoRA's alpha"""
    n_thoughts: int = 6
    """continuous thoughts"""
    distill_weight: float = 20.0
    """weight of the distance between the two chains' states"""
    renewed: float = 0.9
    """share of problems that are given other numbers, drawn anew each time"""
    longest: int = 384
    """tokens of question and written chain; longer problems are left out"""
    dtype: str = "float32"
    """of the products; weights and sums are float32"""
    seed: int = 0
    """of everything that is drawn"""

    def __post_init__(self) -> None:
        if self.tune not in TUNINGS:
            raise ConfigError(f"tune={self.tune!r} does not exist.", f"It is one of {', '.join(TUNINGS)}.")
        if self.dtype not in ("float32", "bfloat16"):
            raise ConfigError(f"dtype={self.dtype!r} cannot be trained in.", "It is one of float32, bfloat16.")
        for name in ("batches", "batch_size", "lora_r", "n_thoughts", "longest"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1.", "Give 1 or more.")
        if not 0.0 <= self.renewed <= 1.0:
            raise ConfigError(f"renewed is {self.renewed}; it is a share.", "Give a number from 0 to 1.")
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise ConfigError(f"learning_rate is {self.rate}; it must be positive.", "Leave it out for the default.")

    @property
    def rate(self) -> float:
        """The peak learning rate."""
        return RATES[self.tune] if self.learning_rate is None else self.learning_rate

    def rate_at(self, batch: int) -> float:
        """The learning rate of a batch, from 0: 3% of a warm-up, then half a cosine."""
        warm = max(1, round(0.03 * self.batches))
        if batch < warm:
            return self.rate * (batch + 1) / warm
        return self.rate * 0.5 * (1 + math.cos(math.pi * (batch - warm) / max(1, self.batches - warm)))

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def check_base(folder: Path) -> Any:
    """The base's config; CheckpointError where the folder holds no model that can be trained here."""
    if not folder.is_dir():
        raise CheckpointError(f"There is no folder {folder}.", "Give one with config.json, weights and tokenizer.")
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder} has no config.json.", "Give the folder of a model in Hugging Face's format.")
    config = read_hf_config(folder)
    if config.model_type not in SHAPES:
        raise CheckpointError(
            f"{folder} is a {config.model_type!r} model; its blocks are not Llama's.",
            f"Supported: {', '.join(SHAPES)}.",
        )
    return config
