"""What a batch wrote, and the growing answers of a batch whose rows end at different times."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from codi_int.errors import HookError


@dataclass(frozen=True)
class Decoded:
    """What a batch wrote, with how sure the model was."""

    ids: Int[Tensor, "batch steps"]
    """the greedy choices, including the end token; behind it, padding"""
    counts: Int[Tensor, " batch"]
    """how many choices of each row are meant, including the end token"""
    ended: Bool[Tensor, " batch"]
    """whether the last of them is the end token"""
    logprobs: Float[Tensor, "batch steps"]
    """log-probability of each choice in nats; 0 behind the last one"""
    margins: Float[Tensor, "batch steps"]
    """logit of the choice minus the best other one; infinite behind the last choice"""
    lengths: tuple[int, ...] | None = None
    """`counts` once more, where the host knows them"""

    @property
    def counted(self) -> tuple[int, ...]:
        """`counts` on the host; a GPU has to be waited for where `lengths` are not known."""
        return tuple(self.counts.tolist()) if self.lengths is None else self.lengths

    def all_tokens(self) -> list[list[int]]:
        """Every answer's ids without the end token."""
        rows = zip(self.ids.tolist(), self.counted, self.ended.tolist(), strict=True)
        return [ids[: length - over] for ids, length, over in rows]

    def tokens(self, row: int) -> tuple[int, ...]:
        """The answer's ids of one row, without the end token."""
        length = int(self.counts[row]) - int(self.ended[row])
        return tuple(self.ids[row, :length].tolist())

    def checked(self) -> "Decoded":
        """The same; HookError where a choice was made among logits that hold NaN or inf."""
        # one look at the end instead of one at every step: each would make a GPU wait
        if bool(self.logprobs.isfinite().all()):
            return self
        raise HookError(
            "The model's logits hold NaN or inf: its states left the range of its dtype, or a hook changed them.",
            "Check the hooks, or load the model with dtype='float32'.",
        )

    @property
    def total_logprob(self) -> Float[Tensor, " batch"]:
        """Log-probability of the whole answer, in nats."""
        return self.logprobs.sum(1)


class Written:
    """The growing answers of a batch whose rows end at different times."""

    def __init__(self, batch: int, limit: int, pad: int, eos: int | None, like: Tensor) -> None:
        self.limit, self._eos = limit, eos
        self.ids = torch.full((batch, limit), pad if eos is None else eos, device=like.device)
        self.logprobs = torch.zeros(batch, limit, device=like.device)
        self.margins = torch.full((batch, limit), torch.inf, device=like.device)
        self.counts = torch.zeros(batch, dtype=torch.long, device=like.device)
        self.ended = torch.zeros(batch, dtype=torch.bool, device=like.device)
        self.open = torch.ones(batch, dtype=torch.bool, device=like.device)

    def take(self, step: int, rows: Tensor, logits: Tensor) -> Tensor:
        """Choose for some rows; what is not open rides along, and nothing of it is kept. Returns the choices [rows]."""
        is_open = self.open[rows]
        kept, scores = rows[is_open], logits.detach().float()[is_open]
        # float32 before logsumexp: bfloat16 would lose what tells the two best apart. [open rows, 2]
        best = scores.topk(2, -1).values
        chosen = logits.argmax(-1)
        self.ids[kept, step] = chosen[is_open]
        self.logprobs[kept, step] = best[:, 0] - scores.logsumexp(-1)
        self.margins[kept, step] = best[:, 0] - best[:, 1]
        self.counts[kept] += 1
        if self._eos is not None:
            over = is_open & (chosen == self._eos)
            self.ended[rows[over]], self.open[rows[over]] = True, False
        return chosen

    def accept(self, guess: Int[Tensor, "batch guessed"], logits: Float[Tensor, "batch guessed_1 vocab"]) -> None:
        """Choose as long as every choice is the one that was guessed, and once more; `logits` have read the guess."""
        rows = torch.arange(len(self.ids), device=guess.device)
        for step in range(min(logits.shape[1], self.limit)):
            chosen = self.take(step, rows, logits[:, step])
            if step < guess.shape[1]:
                # what was read behind another choice says nothing of what this row writes
                self.open &= chosen == guess[:, step]

    def unfinished(self) -> list[Tensor]:
        """The rows that have more to write, those with equally many choices together."""
        rows = (~self.ended & (self.counts < self.limit)).nonzero()[:, 0]
        return [rows[self.counts[rows] == count] for count in self.counts[rows].unique()]

    def writes(self, rows: Tensor) -> None:
        """From here on these rows alone are open."""
        self.open[:] = False
        self.open[rows] = True

    def decoded(self) -> Decoded:
        """The answers, cut to the longest."""
        lengths = tuple(self.counts.tolist())
        n = max(lengths)
        return Decoded(
            ids=self.ids[:, :n],
            counts=self.counts,
            ended=self.ended,
            logprobs=self.logprobs[:, :n],
            margins=self.margins[:, :n],
            lengths=lengths,
        )
