"""What makes a language model a CODI model: the projection from a state to the next thought, and the settings."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import nn

from codi_int.data.answers import ANSWER_RULES, AnswerRule
from codi_int.errors import ConfigError
from codi_int.files import write_text
from codi_int.types import Problem


@dataclass(frozen=True)
class CodiConfig:
    """The settings of a CODI model that its weights do not tell."""

    pad_id: int
    """token id of padding"""
    bot_id: int
    """token id of <bot>, the last token before the thoughts"""
    eot_id: int
    """token id of <eot>, the first token after the thoughts"""
    prj_dim: int
    """width of the projection's hidden layer"""
    eos_id: int | None = None
    """token id that ends an answer; None where nothing ends it"""
    prj_no_ln: bool = False
    """True where the projection has no final LayerNorm"""
    n_thoughts: int = 6
    """number of continuous thoughts"""
    remove_eos: bool = True
    """False where an eos stands before <bot> and after <eot>"""
    suppress_last_id: bool = False
    """True where the last vocabulary id is never chosen, as in the official code"""
    max_new_tokens: int = 32
    """longest answer, in tokens"""
    answer_rule: AnswerRule = "after-phrase"
    """how a number is read from an answer's text"""
    name: str = "unnamed"
    """what the model is called in reports"""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """where the weights come from; free form, JSON types only"""

    def __post_init__(self) -> None:
        if self.answer_rule not in ANSWER_RULES:
            raise ConfigError(f"answer_rule is {self.answer_rule!r}.", f"It is one of {', '.join(ANSWER_RULES)}.")
        for name in ("n_thoughts", "prj_dim", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1.", "Give 1 or more.")
        if not self.remove_eos and self.eos_id is None:
            raise ConfigError("remove_eos=False needs an eos_id.", "Give the tokenizer an eos token.")

    def to_json(self) -> str:
        """The settings as a JSON document."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "CodiConfig":
        """The inverse of `to_json`; ConfigError on unknown or missing settings."""
        data = json.loads(text)
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise ConfigError(f"Unknown CODI settings: {', '.join(unknown)}.", f"Known: {', '.join(sorted(known))}.")
        if missing := [name for name in ("pad_id", "bot_id", "eot_id", "prj_dim") if name not in data]:
            raise ConfigError(f"CODI settings lack {', '.join(missing)}.", "Add them to codi.json.")
        return cls(**data)

    def save(self, path: Path) -> None:
        """Write the settings to `path`."""
        write_text(path, self.to_json() + "\n")


class Projection(nn.Sequential):
    """From a post-final-norm state [.., d_model] to the next thought [.., d_model] (CODI, arXiv:2502.21074).

    Dropout, Linear(d_model, prj_dim), GELU, Linear(prj_dim, d_model) and, unless `prj_no_ln`, a LayerNorm. The names
    in the state dict are those of the official checkpoints without their `prj.` prefix.
    """

    def __init__(self, d_model: int, prj_dim: int, prj_no_ln: bool = False, dropout: float = 0.0) -> None:
        # the indices 1 and 3 are in the names of the official files (prj.1.weight), so the dropout stays in its place
        super().__init__(nn.Dropout(dropout), nn.Linear(d_model, prj_dim), nn.GELU(), nn.Linear(prj_dim, d_model))
        if not prj_no_ln:
            self.add_module("ln", nn.LayerNorm(d_model))


def clean_question(problem: Problem) -> str:
    """A question's text as the tokenizer gets it."""
    # as the official evaluation cleans its questions, so that published checkpoints see what they were trained on
    return problem.question.strip().replace("  ", " ")
