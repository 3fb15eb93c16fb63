"""The CODI model that users hold: think, answer, capture and hook, on problems instead of token ids."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from codi_int.data.problems import ProblemsLike, as_problems
from codi_int.errors import ConfigError, HookError, SiteError
from codi_int.model.bridge import to_bridge
from codi_int.model.capture import Activations, CachedRun, NameRecorder, NamesFilter, chosen_names
from codi_int.model.chain import PADDINGS, Chain, ChainState, Decoded, Padding
from codi_int.model.codi import CodiConfig, Projection, clean_question
from codi_int.model.hooks import (
    THOUGHT_HOOK,
    HookFunction,
    HookSession,
    Recorder,
    SiteRecorder,
    make_entry,
    names_site,
)
from codi_int.model.rollout import (
    Grouping,
    QuestionBatch,
    Rollout,
    Thinking,
    beside,
    check_tokens,
    complete,
    group_by_length,
    group_in_order,
    join_thoughts,
    stack_residuals,
    usual_opening,
)
from codi_int.model.store import save_model
from codi_int.model.weights import WeightsIdentity
from codi_int.progress import Progress, count_up
from codi_int.shown import Shown
from codi_int.sites import SitesLike, as_sites
from codi_int.types import Completion, Problem, Propagate, Site, SiteLike, ThoughtBatch

BATCH_SIZE = 128


class CodiModel(Shown, Chain):
    """A language model that thinks in vectors, with hooks at every place inside a thought.

    What it computes for a problem does not depend on the problems beside it: where questions of a batch are padded to
    one length, the padding is never read and no position counts it.
    """

    def __init__(
        self, hf: Any, projection: Projection, config: CodiConfig, tokenizer: Any, file_sha256: str | None = None
    ) -> None:
        super().__init__(hf, projection, config)
        self.tokenizer, self.name = tokenizer, config.name
        self._weights = WeightsIdentity(hf, projection, file_sha256)
        self.n_layers, self.d_model, self.n_thoughts = self.stack.n_layers, self.stack.d_model, config.n_thoughts

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        return self.stack.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.stack.dtype

    @property
    def sha256(self) -> str:
        """Hash of all weights, as they are now.

        While they are what was loaded, it is the hash of their file, the same in every dtype that they are loaded in.
        Weights that were changed since, in place or by other tensors, have a hash of their own; changed back, they have
        the first one again.
        """
        return self._weights.sha256()

    def state_key(self) -> Hashable:
        """Everything besides a problem that decides what the model does: a key for what is remembered of its runs.

        It changes when weights are changed in place or replaced, when hooks are set or removed (`model.hooks`, and
        torch's own on the modules), when a module is put into training mode and when `config` is replaced. Two models
        never share a key. The hooks in it are told apart by the block that set them: a function that answers
        differently the second time is not seen, so what was run with hooks set is better not kept beyond their block.
        """
        # the entries themselves, which compare by identity: kept in the key, none can be freed and its id used again
        hooks = tuple((session.propagate, session.entries) for session in self._sessions)
        return (self._weights.state(), hooks, repr(self.config))

    @property
    def hook_names(self) -> tuple[str, ...]:
        """Every name that a hook can be set on."""
        return (*self.stack.hook_names(), THOUGHT_HOOK)

    @property
    def n_hooks(self) -> int:
        """How many hooks are set right now."""
        return sum(len(session.entries) for session in self._sessions)

    def check_site(self, site: SiteLike) -> Site:
        """The site itself; SiteError where this model does not have it."""
        site = Site.parse(site)
        for what, index, first, last in (
            ("layer", site.layer, "0", self.n_layers - 1),
            ("position", site.position, "0 (<bot>)", self.n_thoughts),
            ("head", site.head, "0", self.stack.n_heads - 1),
        ):
            if index is not None and index > last:
                raise SiteError(
                    f"{what.capitalize()} {index} does not exist: {self.name} has {what}s {first} to {last}.",
                    f"Choose another {what}.",
                )
        return site

    @contextmanager
    def hooks(self, table: Mapping[Any, HookFunction], propagate: Propagate = "both") -> Iterator[HookSession]:
        """Call functions at places inside the model while the block lasts; sites may be written as text or parts.

        Args:
            table: from a site to fn(tensor [batch, d_model], context), from a TransformerLens name (or a `HookPoint`,
                which limits one to some positions) to fn(tensor, hook) on the whole tensor. A function returns what
                takes the tensor's place, or None where it only reads.
            propagate: by which path a change reaches the answer: through the keys and values that later positions read
                (`cache`), through the next thought (`recurrence`), or `both`.

        Yields:
            the session; its `receipts` say how often each hook fired and where.

        Raises:
            SiteError, HookError: before the block for a place that does not exist, inside it for an unusable return
                value, at its end for a hook that never fired.
        """
        with self.under(self.session(table, propagate)) as session:
            yield session
        session.check_fired()

    def session(self, table: Mapping[Any, HookFunction], propagate: Propagate = "both") -> HookSession:
        """Hooks that are checked and not set yet: `under` sets them, as often as wanted."""
        places = [(self.check_site(key) if names_site(key) else key, fn) for key, fn in table.items()]
        entries = [make_entry(key, fn, self.hook_names, self.n_thoughts) for key, fn in places]
        return HookSession(entries, propagate)

    def encode_question(self, problem: Problem) -> tuple[int, ...]:
        """Token ids of a question, ending in <bot>."""
        ending = [self.config.bot_id] if self.config.remove_eos else [self.config.eos_id, self.config.bot_id]
        return (*self.token_ids(clean_question(problem)), *ending)

    def _encoded(self, problems: Sequence[Problem]) -> tuple[list[tuple[int, ...]], list[str]]:
        return [self.encode_question(problem) for problem in problems], [problem.id for problem in problems]

    def batches(
        self,
        problems: ProblemsLike,
        batch_size: int = BATCH_SIZE,
        padding: Padding = "masked",
        n_thoughts: int | None = None,
    ) -> list[QuestionBatch]:
        """The problems in batches, padded on the left: of neighbouring lengths, or (`official`) in the order given."""
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; it must be at least 1.", "Give 1 or more.")
        if padding not in PADDINGS:
            raise ConfigError(f"padding={padding!r} does not exist.", f"It is one of {', '.join(PADDINGS)}.")
        problems = as_problems(problems)
        encoded, ids = self._encoded(problems)
        if padding == "official":
            return group_in_order(encoded, ids, Grouping(batch_size, self.config.pad_id, self.device))
        behind = (self.n_thoughts if n_thoughts is None else n_thoughts) + self.config.max_new_tokens + 1
        roomy = self.stack.max_positions - behind
        return group_by_length(encoded, ids, Grouping(batch_size, self.config.pad_id, self.device, roomy=roomy))

    def think(
        self,
        problems: ProblemsLike,
        capture: SitesLike = (),
        answers: bool = False,
        grad: bool = False,
        padding: Padding = "masked",
        batch_size: int = BATCH_SIZE,
        progress: Progress | None = None,
    ) -> ThoughtBatch:
        """Run the thoughts of all problems, of one, or of the text of a question.

        Args:
            capture: the site or sites to keep, or "all" for `resid_post` of every layer and position.
            answers: also write the answers.
            grad: leave gradients on.
            padding: `masked`, or `official` for parity with the published evaluation, see `prefill`; the latter's
                results depend on which problems share a batch.
            progress: called after every batch; the stage is `answers` or `thoughts`.

        Returns:
            one row per problem, in the order given, on the model's device.
        """
        problems, sites = as_problems(problems), self._sites(capture)
        parts: list[ThoughtBatch] = []
        batches = self.batches(problems, batch_size, padding)
        if not batches:
            raise ConfigError("There are no problems to think about.", "Give at least one.")
        add = count_up(progress, "answers" if answers else "thoughts", len(problems))
        with torch.set_grad_enabled(grad):
            for batch in batches:
                # the first batch shows how answers begin; parity with the published evaluation writes word by word
                guess = usual_opening(parts[0].completions) if parts and padding == "masked" else ()
                parts.append(self._think_batch(batch, sites, padding, guess if answers else None))
                add(len(batch.rows))
        order = [row for batch in batches for row in batch.rows]
        return join_thoughts(parts, order, sites, self.n_layers if capture == "all" else None)

    def answer(
        self,
        problems: ProblemsLike,
        padding: Padding = "masked",
        batch_size: int = BATCH_SIZE,
        progress: Progress | None = None,
    ) -> list[Completion]:
        """What the model answers, one completion per problem, in the order given; arguments as for `think`."""
        batch = self.think(problems, answers=True, padding=padding, batch_size=batch_size, progress=progress)
        return list(batch.completions)

    def write_chain(
        self,
        problems: ProblemsLike,
        max_new_tokens: int = 64,
        batch_size: int = BATCH_SIZE,
        progress: Progress | None = None,
    ) -> list[Completion]:
        """What the model writes right after the question, without any thought: its written chain of thought.

        The question is read without <bot> (and without the eos before it), as the teacher reads it in CODI's training;
        then the model writes greedily up to its end token. For a base model that was never trained to write, the text
        means nothing.

        Args:
            max_new_tokens: longest chain, answer included; where the model's positions end, so does the chain.

        Raises:
            HookError: hooks are set; there is no thought that they could fire at.
        """
        if self.n_hooks:
            raise HookError("Hooks do not reach a written chain: it has no thoughts.", "Call write_chain outside.")
        problems = as_problems(problems)
        written: dict[int, Completion] = {}
        add = count_up(progress, "written chains", len(problems))
        encoded, names = self._encoded(problems)
        # of one length: a question is read here as if it were the beginning of what is written, without a mask
        one_length = Grouping(batch_size, self.config.pad_id, self.device, padding_share=0.0)
        for batch in group_by_length(encoded, names, one_length):
            ids = batch.ids[:, :-1] if self.config.remove_eos else batch.ids[:, :-2]
            state = self.empty_state(batch.problem_ids, ids.shape[1] + max_new_tokens)
            room = max(1, self.stack.max_positions - ids.shape[1] + 1)
            with torch.no_grad():
                decoded = self.decode(state, min(max_new_tokens, room), opening=ids).checked()
            written.update(zip(batch.rows, self._completions(batch.problem_ids, decoded), strict=True))
            add(len(batch.rows))
        return [written[row] for row in range(len(problems))]

    def run_with_cache(self, problems: ProblemsLike, names_filter: NamesFilter = None, grad: bool = False) -> CachedRun:
        """Think about a few problems in one batch and keep whole tensors by their TransformerLens names.

        Args:
            names_filter: a name, several, or a function name -> bool; None keeps every name.

        Raises:
            HookError: a name that does not exist, or a function that chooses none.
        """
        names = chosen_names(names_filter, self.hook_names)
        problems = as_problems(problems)
        encoded, ids = self._encoded(problems)
        (batch,) = group_in_order(encoded, ids, Grouping(len(ids), self.config.pad_id, self.device))
        recorder = NameRecorder(names)
        with torch.set_grad_enabled(grad):
            thinking = self._think(self.prefill(batch.ids, batch.mask, batch.problem_ids, recorder=recorder), recorder)
        thoughts = ThoughtBatch(batch.problem_ids, thinking.thoughts)
        cache = thinking.state.cache
        valid = cache.valid[:, : cache.length]
        return CachedRun(thoughts, Activations(recorder.join(), batch.ids.shape[1], valid))

    def to_transformer_lens(self, copy: bool = True) -> Any:
        """A TransformerBridge of the language model, see `bridge.to_bridge`."""
        return to_bridge(self.hf, self.tokenizer, copy)

    def save(self, folder: str | Path) -> None:
        """Write the model in the native format, see `store.save_model`."""
        save_model(folder, self.hf, self.projection, self.config, self.tokenizer)

    def think_tokens(
        self,
        input_ids: Int[Tensor, "batch tokens"],
        attention_mask: Int[Tensor, "batch tokens"] | None = None,
        max_new_tokens: int = 12,
        padding: Padding = "masked",
        grad: bool = False,
    ) -> ThoughtBatch:
        """Think about token ids: left-padded rows that end in <bot>.

        Args:
            input_ids: ids inside the vocabulary, <bot> last in every row.
            attention_mask: of the ids' shape, 0 at the padding in front; None where nothing is padded.
            max_new_tokens: how many ids to write; an end token does not stop them.
            padding: `masked` or `official`, see `prefill`.

        Returns:
            `residuals` [batch, n_layers, n_thoughts + 1, d_model], `thoughts`, and `completion_ids`
            [batch, max_new_tokens]; problem ids are row0, row1, ...

        Raises:
            ConfigError: ids or a mask of another form.
        """
        check_tokens(input_ids, attention_mask, self.stack.vocab_size, self.config.bot_id)
        sites = self._sites("all")
        recorder = SiteRecorder(sites)
        with torch.set_grad_enabled(grad):
            mask = None if attention_mask is None else attention_mask.to(self.device)
            thinking = self._think(
                self.prefill(input_ids.to(self.device), mask, padding=padding, recorder=recorder), recorder
            )
            decoded = self.decode(thinking.state, max_new_tokens, stop_at_eos=False).checked()
        names = thinking.state.problem_ids
        return ThoughtBatch(
            problem_ids=names,
            thoughts=thinking.thoughts,
            captured={},
            residuals=stack_residuals(recorder.captured, self.n_layers),
            completions=self._completions(names, decoded),
            completion_ids=decoded.ids,
        )

    def rollout(self, batch: QuestionBatch, capture: Sequence[Site] = (), guess: tuple[int, ...] = ()) -> Rollout:
        """One clean pass over a batch, with everything kept that an edit may start from; `guess` as in `decode`."""
        recorder = SiteRecorder(self._sites(capture))
        thinking = self._think_tightly(batch, recorder)
        with torch.no_grad():
            # the answer is written beside what is kept, which so has no slot more than it needs
            decoded = self.decode(beside(thinking.state), guess=guess).checked()
        return Rollout(
            batch=batch,
            cache=thinking.state.cache,
            hidden=thinking.hidden,
            thoughts=thinking.thoughts,
            captured=recorder.captured,
            decoded=decoded,
            completions=self._completions(batch.problem_ids, decoded),
        )

    def read_again(self, rollout: Rollout) -> Rollout:
        """A rollout with keys and values, where it was kept without them."""
        return replace(rollout, cache=self._think_tightly(rollout.batch).state.cache)

    def _think_tightly(self, batch: QuestionBatch, recorder: Recorder | None = None) -> Thinking:
        with torch.no_grad():
            state = self.prefill(batch.ids, batch.mask, batch.problem_ids, recorder=recorder, spare=0)
            return self._think(state, recorder)

    def rollouts(
        self, problems: Sequence[Problem], capture: Sequence[Site] = (), batch_size: int = BATCH_SIZE
    ) -> Iterator[Rollout]:
        """`rollout` over all batches of some problems, shorter questions first."""
        for batch in self.batches(problems, batch_size):
            yield self.rollout(batch, capture)

    def _sites(self, capture: SitesLike) -> tuple[Site, ...]:
        if isinstance(capture, str) and capture == "all":
            return tuple(Site(layer, p) for layer in range(self.n_layers) for p in range(self.n_thoughts + 1))
        return tuple(self.check_site(site) for site in as_sites(capture))

    def _think(self, state: ChainState, recorder: Recorder | None = None) -> Thinking:
        """All thoughts after a state at <bot>."""
        hidden, thoughts = [state.hidden], []
        for _ in range(self.n_thoughts):
            thoughts.append(self.next_thought(state, recorder))
            state = self.step_thought(state, thoughts[-1], recorder)
            hidden.append(state.hidden)
        # nothing is fed after the last thought; its projection is made all the same, as in the official code, for hooks
        self.next_thought(state, recorder)
        return Thinking(state, torch.stack(hidden, 1), torch.stack(thoughts, 1))

    def _think_batch(
        self, batch: QuestionBatch, sites: tuple[Site, ...], padding: Padding, guess: tuple[int, ...] | None
    ) -> ThoughtBatch:
        """The thoughts of one batch, and its answers where there is a guess at them, if only an empty one."""
        recorder = SiteRecorder(sites) if sites else None
        state = self.prefill(batch.ids, batch.mask, batch.problem_ids, padding=padding, recorder=recorder)
        thinking = self._think(state, recorder)
        written: tuple[Completion, ...] = ()
        if guess is not None:
            written = self._completions(batch.problem_ids, self.decode(thinking.state, guess=guess).checked())
        captured = recorder.captured if recorder else {}
        return ThoughtBatch(batch.problem_ids, thinking.thoughts, captured, completions=written)

    def _completions(self, problem_ids: tuple[str, ...], decoded: Decoded) -> tuple[Completion, ...]:
        return complete(decoded, problem_ids, self.texts_of, self.config.answer_rule)
