"""The steps of a CODI model on token ids: read the question, think, write; each step with hooks and a cache.

These are the low-level pieces. They leave autograd as they find it, so that gradients can flow through them.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from codi_int.errors import CheckpointError, ConfigError, HookError
from codi_int.model.cache import KVCache
from codi_int.model.codi import CodiConfig, Projection
from codi_int.model.decoded import Decoded as Decoded
from codi_int.model.decoded import Written
from codi_int.model.gpt2 import GPT2Stack
from codi_int.model.hooks import THOUGHT_HOOK, HookEntry, HookSession, Position, Recorder, StepHook
from codi_int.model.llama import LlamaStack
from codi_int.model.parts import HostParts
from codi_int.model.stack import BlockStack, tap

SHORTER = "Leave the longest problems out, or lower max_new_tokens."

Padding = Literal["masked", "official"]
PADDINGS: tuple[Padding, ...] = ("masked", "official")
STACKS: Mapping[str, type[BlockStack]] = {"llama": LlamaStack, "qwen2": LlamaStack, "gpt2": GPT2Stack}


@dataclass(frozen=True)
class ChainState:
    """Where a batch stands between two steps."""

    cache: KVCache
    """keys and values of everything read so far; the next step changes it in place"""
    hidden: Float[Tensor, "batch d_model"]
    """the post-final-norm state of the last token"""
    position: int
    """0 after <bot>, i after thought i"""
    problem_ids: tuple[str, ...]
    """one for each row"""


def make_stack(hf: Any) -> BlockStack:
    """The block stack for a Hugging Face model; CheckpointError where its architecture is not supported."""
    kind = hf.config.model_type
    if kind not in STACKS:
        raise CheckpointError(f"Architecture {kind!r} is not supported.", f"Supported: {', '.join(STACKS)}.")
    return STACKS[kind](hf)


class Chain(HostParts):
    """A language model and a projection, run step by step.

    A state goes `prefill` -> `step_thought` (n_thoughts times) -> `decode` or `teacher_force`.
    """

    def __init__(self, hf: Any, projection: Projection, config: CodiConfig) -> None:
        self.hf = hf
        self.projection = projection
        self.config = config
        self.stack = make_stack(hf)
        self._sessions: list[HookSession] = []

    def prefill(
        self,
        ids: Int[Tensor, "batch tokens"],
        mask: Tensor | None = None,
        problem_ids: tuple[str, ...] | None = None,
        padding: Padding = "masked",
        recorder: Recorder | None = None,
        spare: int = 10,
    ) -> ChainState:
        """Read questions that end in <bot>: position 0.

        Args:
            ids: token ids, padded on the left where lengths differ.
            mask: [batch, tokens], 0 at padding; None where nothing is padded.
            problem_ids: names of the rows for hooks; default row0, row1, ...
            padding: `masked` never reads padding and counts positions without it; `official` does as the published
                evaluation: padding has positions of its own and is read by every step after the question. (What it
                holds then depends on the version of transformers; here, as in 5.x, padding itself reads nothing.)
            recorder: who keeps activations.
            spare: slots to make room for behind the thoughts: those of an ordinary answer.
        """
        if padding not in PADDINGS:
            raise ConfigError(f"padding={padding!r} does not exist.", f"It is one of {', '.join(PADDINGS)}.")
        names = problem_ids or tuple(f"row{i}" for i in range(ids.shape[0]))
        if ids.shape[1] > self.stack.max_positions:
            # the longest row has no padding: its name, or nobody can find it among thousands
            longest = 0 if mask is None else int(mask.sum(1).argmax())
            self._check_length(ids.shape[1], f"The question {names[longest]!r} is", "Leave it out, or make it shorter.")
        # room for what comes, so that the buffers are not copied in the middle of the loop
        cache = self.stack.new_cache(ids.shape[0], ids.shape[1] + self.config.n_thoughts + spare)
        valid = None if mask is None else mask.bool()
        x = self.stack.embed(ids, cache, valid, count_padding=padding == "official")
        hidden = self._forward(x, cache, 0, names, recorder)
        # only now: the published code passes the mask with the question and not with the thoughts (arXiv:2502.21074)
        if padding == "official":
            cache.forget_padding()
        # rows are padded on the left, so <bot> is the last token of each: [batch, d_model]
        return ChainState(cache, hidden[:, -1], 0, names)

    def next_thought(self, state: ChainState, recorder: Recorder | None = None) -> Float[Tensor, "batch d_model"]:
        """The vector that is fed next: the projection of the last state."""
        # the state is post-final-norm, which is what the projection was trained on; a thought leaves no key behind, so
        # the recurrence is the only path that a hook here can take
        hook = self._hook(self._entries(state.position, "recurrence"), recorder, state.position, state.problem_ids)
        return tap(hook, THOUGHT_HOOK, self.projection(state.hidden)[:, None])[:, 0]

    def step_thought(
        self,
        state: ChainState,
        thought: Float[Tensor, "batch d_model"] | None = None,
        recorder: Recorder | None = None,
    ) -> ChainState:
        """Feed one thought, by default `next_thought(state)`. The given state's cache goes on in the new state."""
        thought = self.next_thought(state, recorder) if thought is None else thought
        # hooks may write in place, and a thought that was handed over or kept must not change with what is fed
        x = self.stack.embed_thought(thought.clone() if self._sessions else thought, state.cache)
        hidden = self._forward(x, state.cache, state.position + 1, state.problem_ids, recorder)
        return ChainState(state.cache, hidden[:, -1], state.position + 1, state.problem_ids)

    def teacher_force(
        self, state: ChainState, answer_ids: Int[Tensor, "batch tokens"], recorder: Recorder | None = None
    ) -> Float[Tensor, "batch tokens_1 vocab"]:
        """Logits for every token of a given answer and for the one behind it, in one forward.

        Returns:
            logits whose entry [:, j] predicts answer token j; the state's cache is left as it was. Ids that may never
            be chosen have no column (see `CodiConfig.suppress_last_id`).
        """
        # <eot> is read, never chosen: the logits behind the opening's last token are the first to predict an answer
        before = state.cache.length
        opening = self._opening(len(state.problem_ids))
        logits = self._write(state, torch.cat([opening, answer_ids], 1), recorder)
        state.cache.truncate(before)
        return logits[:, opening.shape[1] - 1 :]

    def decode(
        self,
        state: ChainState,
        max_new_tokens: int | None = None,
        stop_at_eos: bool = True,
        recorder: Recorder | None = None,
        opening: Int[Tensor, "batch tokens"] | None = None,
        guess: Int[Tensor, "batch guessed"] | tuple[int, ...] = (),
        watch: Callable[[Tensor], None] | None = None,
    ) -> Decoded:
        """Write greedily from <eot> on; the state's cache is left as it was.

        Args:
            max_new_tokens: longest answer; default the model's own limit, or as far as its positions reach.
            stop_at_eos: end a row at the end token; False writes on to the limit.
            opening: what is read before the first choice; default <eot> (and an eos where the model was trained so).
            guess: how the answers probably begin, for all rows or row by row. It is read in one forward, and where a
                row chooses otherwise it writes on from there: a wrong guess costs time and changes nothing.
            watch: called with the logits [batch, guessed + 1, vocab] behind the opening and every token of the guess.
        """
        before, batch = state.cache.length, len(state.problem_ids)
        opening = self._opening(batch) if opening is None else opening
        limit = self._room(before + opening.shape[1]) if max_new_tokens is None else max_new_tokens
        guessed = self._guessed(
            guess, batch, limit=min(limit, self._room(before + opening.shape[1])), recorder=recorder
        )
        result = Written(batch, limit, self.config.pad_id, self.config.eos_id if stop_at_eos else None, state.hidden)
        # logits of the last tokens alone: the vocabulary is the widest matrix of a model of this size
        logits = self._write(state, torch.cat([opening, guessed], 1), recorder, last=guessed.shape[1] + 1)
        if watch is not None:
            watch(logits)
        result.accept(guessed, logits)
        # rows that agreed with equally many guesses go on together; the most in the end, for they may do it in place
        groups = sorted(result.unfinished(), key=len)
        for rows in groups:
            agreed = int(result.counts[rows[0]]) - 1
            in_place = rows is groups[-1] and 2 * len(rows) >= batch
            current = state if in_place else self._picked(state, rows)
            current.cache.truncate(before + opening.shape[1] + agreed)
            result.writes(rows)
            everyone = torch.arange(batch, device=rows.device)
            self._write_on(current, everyone if in_place else rows, result, agreed + 1, recorder)
        # after a gather the writing went on in another cache, whose slots this one never had
        state.cache.truncate(before)
        return result.decoded()

    def _guessed(self, guess: Tensor | tuple[int, ...], batch: int, limit: int, recorder: Recorder | None) -> Tensor:
        """The guess for every row, [batch, guessed], no longer than can be written; none where hooks see each step."""
        seen = bool(self._entries("answer", "cache")) or (recorder is not None and bool(recorder.names("answer")))
        rows = guess if isinstance(guess, Tensor) else torch.tensor([guess], dtype=torch.long).expand(batch, -1)
        return rows[:, : 0 if seen else max(0, limit - 1)].to(self.stack.device)

    def _write_on(
        self, current: ChainState, rows: Tensor, result: Written, step: int, recorder: Recorder | None
    ) -> None:
        """Write token by token; `rows` are those of the cache, of which `result` takes what the open ones choose."""
        tokens = result.ids[rows, step - 1, None]
        while step < result.limit:
            tokens = result.take(step, rows, self._write(current, tokens, recorder, last=1)[:, -1])[:, None]
            going, step = result.open[rows], step + 1
            n_going = int(going.sum())
            if not n_going:
                break
            # ended rows are dragged along until half are over: gathering copies the whole cache, so not at every end
            if 2 * n_going < len(rows):
                keep = going.nonzero()[:, 0]
                rows, tokens, current = rows[keep], tokens[keep], self._picked(current, keep)

    def empty_state(self, problem_ids: tuple[str, ...], capacity: int) -> ChainState:
        """Before anything was read, with room for `capacity` tokens."""
        hidden = torch.zeros(len(problem_ids), self.stack.d_model, dtype=self.stack.dtype, device=self.stack.device)
        return ChainState(self.stack.new_cache(len(problem_ids), capacity), hidden, 0, problem_ids)

    def _write(self, state: ChainState, tokens: Tensor, recorder: Recorder | None, last: int | None = None) -> Tensor:
        """Feed tokens of the answer; logits [batch, t (or the last so many), vocab] of the ids that may be chosen."""
        self._check_length(state.cache.length + tokens.shape[1], "Question and answer are", SHORTER)
        x = self.stack.embed(tokens, state.cache)
        hidden = self._forward(x, state.cache, "answer", state.problem_ids, recorder)
        logits = self.stack.unembed(hidden if last is None else hidden[:, -last:])
        # the official code leaves the last id out of its argmax; without its column, softmax and margin leave it out
        # too
        return logits[..., :-1] if self.config.suppress_last_id else logits

    def _picked(self, state: ChainState, rows: Tensor) -> ChainState:
        ids = tuple(state.problem_ids[i] for i in rows.tolist())
        return ChainState(state.cache.gather(rows), state.hidden[rows], state.position, ids)

    def _opening(self, batch: int) -> Tensor:
        """What stands between the thoughts and the answer: <eot>, and an eos where the model was trained so."""
        eot, eos = self.config.eot_id, self.config.eos_id
        # filled where they are needed: a tensor made of a list is carried to a GPU, which has to be waited for
        out = torch.full((batch, 1 if self.config.remove_eos else 2), eot, dtype=torch.long, device=self.stack.device)
        if not self.config.remove_eos:
            assert eos is not None
            out[:, 1] = eos
        return out

    def _forward(
        self, x: Tensor, cache: KVCache, position: Position, ids: tuple[str, ...], recorder: Recorder | None
    ) -> Tensor:
        """Run all blocks and the final norm on the last claimed slots, with the hooks of both paths.

        Where some hook is to reach the answer by one path only, the step runs twice: the states of the first run go
        on into the recurrence, the keys and values of the second one stay in the cache.
        """
        # Entries are compared, not propagate settings: with "both" alone the two are one and the step runs once.
        onward, kept = self._entries(position, "recurrence"), self._entries(position, "cache")
        if onward == kept:
            return self._run(x, cache, self._hook(kept, recorder, position, ids))
        # recorded is the run that has the hooks: a recorder of the clean one would show an edit that did nothing
        first, second = (recorder, None) if len(onward) > len(kept) else (None, recorder)
        hidden = self._run(x, cache, self._hook(onward, first, position, ids))
        # `write` fills the slots that are claimed already, so this run overwrites the keys and values of the first
        self._run(x, cache, self._hook(kept, second, position, ids))
        return hidden

    def _run(self, x: Tensor, cache: KVCache, hook: StepHook | None) -> Tensor:
        return self.stack.final_norm(self.stack.run(x, cache, hook=hook), hook)

    @contextmanager
    def under(self, session: HookSession) -> Iterator[HookSession]:
        """Set the hooks of a session while the block lasts, also of one that was set before: its key stays the same."""
        self._sessions.append(session)
        try:
            yield session
        finally:
            self._sessions.remove(session)

    def step_hook(self, state: ChainState) -> StepHook | None:
        """The users' hooks at a state's own position, for whoever runs blocks of it again; None where there are none.

        Raises:
            HookError: where some of them are to act by one path only: a block that runs again serves both.
        """
        # the thought's own hook is called where it is made, after all blocks
        onward, kept = (
            tuple(entry for entry in self._entries(state.position, path) if entry.name != THOUGHT_HOOK)
            for path in ("recurrence", "cache")
        )
        if onward != kept:
            raise HookError(
                f"A hook at position {state.position} acts by one path only, where an edit of that position runs.",
                "Set it with propagate='both', or give the engine method='naive'.",
            )
        return self._hook(kept, None, state.position, state.problem_ids)

    def _entries(self, position: Position, path: Literal["cache", "recurrence"]) -> tuple[HookEntry, ...]:
        """The users' hooks at a position that may reach the answer by a path; while writing there is but one path."""
        # a written token is read back through keys and values only, so there is nothing to tell apart
        paths = ("both", path) if position != "answer" else ("both", "cache", "recurrence")
        return tuple(e for s in self._sessions if s.propagate in paths for e in s.active_at(position))

    def _hook(
        self, entries: tuple[HookEntry, ...], recorder: Recorder | None, position: Position, ids: tuple[str, ...]
    ) -> StepHook | None:
        hook = StepHook(entries, recorder, position, ids) if entries or recorder else None
        return hook if hook and hook.names else None

    def _room(self, read: int) -> int:
        """How many tokens may be written behind so many: the model's own limit, or what its positions leave."""
        # the last token that is written is not read, and a text without any room is refused when it is read
        return min(self.config.max_new_tokens, max(1, self.stack.max_positions - read + 1))

    def _check_length(self, tokens: int, what: str, remedy: str) -> None:
        if tokens > self.stack.max_positions:
            raise ConfigError(
                f"{what} {tokens} tokens long; the model has {self.stack.max_positions} positions.", remedy
            )
