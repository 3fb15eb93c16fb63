"""Where a change at a site enters the model again, and by which paths it can go on from there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from codi_int.errors import ConfigError
from codi_int.model.branch import Branches
from codi_int.model.chain import ChainState
from codi_int.model.hooked import CodiModel
from codi_int.model.hooks import PROPAGATE, HookFunction, HookPoint, Recorder, StepHook, site_hook_name
from codi_int.model.rollout import Rollout
from codi_int.model.stack import tap
from codi_int.types import Propagate, Site


@dataclass(frozen=True)
class SiteChange:
    """What is done to the activations at one site, row by row."""

    site: Site
    """where"""
    delta: Float[Tensor, "m d_model"]
    """what is added there, one row for each row that runs; 0 where a row is not touched there"""
    value: Float[Tensor, "m d_model"] | None = None
    """what stands there afterwards, where an edit of the residual says so; NaN in rows to which `delta` is added

    Adding would give the same but for the rounding of what arrives, which a residual near zero does not forgive: the
    model's norm makes it as large as any other.
    """

    def of(self, chosen: Tensor) -> "SiteChange":
        """The same for some of the rows."""
        return SiteChange(self.site, self.delta[chosen], None if self.value is None else self.value[chosen])

    def made(self, x: Float[Tensor, "m *step d_model"]) -> Float[Tensor, "m *step d_model"]:
        """What arrives, with the change made; a step of one token may stand between the rows and d_model."""
        # NaN marks the rows without a value: one tensor says which of the two is meant, row by row
        out = add_in_float32(x, self.delta.view_as(x))
        if self.value is None:
            return out
        value = self.value.to(x.device).view_as(x)
        return torch.where(value.isnan(), out, value.to(x.dtype))

    def hook(self) -> HookFunction:
        """The change as a hook for `model.hooks`; the batch must have the rows of the change, in their order."""
        return lambda tensor, context: self.made(tensor)


class _AtPosition:
    """A stack hook of one position: the users' hooks, then changes of the last token; keeps what was asked for."""

    def __init__(
        self, changes: Mapping[str, SiteChange], recorder: Recorder | None, position: int, users: StepHook | None
    ) -> None:
        self._wanted = recorder.names(position) if recorder else frozenset()
        self.names = frozenset(changes) | self._wanted | (users.names if users else frozenset())
        self._changes, self._recorder, self._position, self._users = changes, recorder, position, users

    def __call__(self, name: str, tensor: Tensor) -> Tensor:
        # users first: in a run of the whole model their hooks were set before the change's own
        tensor = tap(self._users, name, tensor)
        if name in self._changes:
            tensor = self._changes[name].made(tensor)
        if self._recorder and name in self._wanted:
            self._recorder.record(name, self._position, tensor)
        return tensor


@dataclass(frozen=True)
class ResumePoint:
    """How to run the rest of one position after a change at a site."""

    site: Site
    """where the change is made"""
    propagate: Propagate
    """by which paths it may go on"""
    base: Site | None
    """the site whose clean activation the rest of the position starts from; None where no block is left to run"""
    start: int
    """the first block that runs again"""
    hook: str | None
    """hook point at which the change is added, where that is inside the first block"""

    def run_on(
        self,
        model: CodiModel,
        rollout: Rollout,
        rows: Int[Tensor, " m"] | Branches,
        changes: Sequence[SiteChange],
        until: Site | None = None,
        recorder: Recorder | None = None,
    ) -> ChainState:
        """The state after the last thought, run on from the site with all changes made.

        Gradients flow unless the caller switched them off.

        Args:
            model: the model.
            rollout: the clean pass of a batch.
            rows: which of its rows, repeats allowed; as `Branches` they share what lies before the site (then without
                gradients).
            changes: the first at this point's site, the others at sites that are reached later; [m, d_model] each.
            until: stop when this site has been reached; default after the last thought.
            recorder: who keeps activations on the way.
        """
        first, *later = changes
        assert first.site == self.site
        # this position is run block by block and the next ones as whole steps, so hooks are set in two ways
        inside = [change for change in later if self._in_same_forward(change.site)]
        onward: dict[Site | HookPoint | str, HookFunction] = {
            change.site: change.hook() for change in later if not self._in_same_forward(change.site)
        }
        # the thought that a position makes is fed at the next one, so that is where it has been reached
        last = model.n_thoughts if until is None else until.position + (until.component == "thought")
        with model.hooks(onward, self.propagate):
            state = self._enter(
                model,
                rollout=rollout,
                rows=rows,
                first=first,
                inside=inside,
                recorder=recorder,
            )
            return remaining_thoughts(model, state, last, recorder)

    def _enter(
        self,
        model: CodiModel,
        rollout: Rollout,
        rows: Int[Tensor, " m"] | Branches,
        first: SiteChange,
        inside: Sequence[SiteChange],
        recorder: Recorder | None,
    ) -> ChainState:
        """The state after the site's position (or the next one, for a changed thought) with the change made."""
        # not the clean cache itself: the rows that run write into theirs, and other arms start from the same rollout
        if isinstance(rows, Branches):
            state, rows = rollout.branch_at(self.site.position, rows), rows.rows
        else:
            state = rollout.state_at(self.site.position, rows)
        if self.site.component == "thought":
            return model.step_thought(state, first.made(model.next_thought(state)), recorder)
        if self.site.component == "final_norm":
            return ChainState(state.cache, first.made(state.hidden), state.position, state.problem_ids)
        assert self.base is not None
        x = rollout.captured[self.base][rows]  # [m, d_model]
        at_hooks = {site_hook_name(change.site): change for change in inside}
        # inside a block there is no clean activation to start from, so the block runs again with the change at its hook
        if self.hook:
            at_hooks[self.hook] = first
        elif self.base == self.site:
            x = first.made(x)
        else:  # mlp_out: x is the sum that its block makes of it, so only what is added to the part can be added here
            x = add_in_float32(x, first.delta)
        # Blocks of this position run again, and with them what users set there: a clean state has it in, these do not.
        hook = _AtPosition(at_hooks, recorder, self.site.position, model.step_hook(state))
        return self._rest_of_position(model, state, x, hook)

    def _in_same_forward(self, site: Site) -> bool:
        """Whether a later site lies in the forward that `run_on` itself runs block by block."""
        return site.position == self.site.position and site.component != "thought" and self.base is not None

    def _rest_of_position(self, model: CodiModel, state: ChainState, x: Tensor, hook: _AtPosition) -> ChainState:
        layers, cache = range(self.start, model.n_layers), state.cache
        # The blocks write this position's keys and values over the clean ones. Where the cache path is cut those are
        # wanted back, so copies are taken before.
        saved = [cache.last_slot(i) for i in (layers if self.propagate == "recurrence" else ())]
        x = x[:, None]  # [rows, 1, d_model]: the stack runs tokens, and this position is one
        if self.base != self.site and not self.hook:  # mlp_out, whose block is over, but not yet its resid_post
            assert self.base is not None
            x = tap(hook, site_hook_name(self.base), x)
        out = model.stack.final_norm(model.stack.run(x, cache, layers, hook), hook)
        for i, (keys, values) in zip(layers, saved, strict=False):
            cache.store(i, keys, values)  # not in place where gradients are wanted: then the tensors are new ones
        # the two paths leave here together and are told apart by what is handed on
        if self.propagate == "cache":
            return state  # its cache holds the new keys and values; the state that makes the next thought is clean
        return ChainState(cache, out[:, -1], state.position, state.problem_ids)


def make_resume_point(
    model: CodiModel, site: Site, propagate: Propagate | str = "both", must_reach: bool = True
) -> ResumePoint:
    """How a change at `site` goes on.

    Args:
        model: the model.
        site: where the change is made.
        propagate: by which paths it may go on.
        must_reach: refuse a site that nothing later reads; False where such a change is known to cost nothing.

    Raises:
        SiteError: for a site that the model does not have.
        ConfigError: where the change cannot reach the answer by any path that is open.
    """
    if propagate not in PROPAGATE:
        raise ConfigError(f"propagate={propagate!r} does not exist.", f"It is one of {', '.join(PROPAGATE)}.")
    model.check_site(site)
    start = _first_block(model, site)
    if must_reach:
        _check_reach(model, site, propagate, start)
    if site.layer is None:
        return ResumePoint(site, propagate, base=None, start=start, hook=None)
    if site.inside:
        base = Site(site.layer, site.position, "resid_pre")
        return ResumePoint(site, propagate, base=base, start=start, hook=site_hook_name(site))
    # mlp_out is the last thing that its block adds, so its block need not run again: it starts from resid_post
    component = "resid_pre" if site.component == "resid_pre" else "resid_post"
    base = Site(site.layer, site.position, component)
    return ResumePoint(site, propagate, base=base, start=start, hook=None)


def _first_block(model: CodiModel, site: Site) -> int:
    """What a block's MLP puts out is added to its `resid_post` as it is, so a change there starts one block later."""
    if site.layer is None:
        return model.n_layers
    return site.layer + (1 if site.component in ("resid_post", "mlp_out") else 0)


def _check_reach(model: CodiModel, site: Site, propagate: Propagate, start: int) -> None:
    """ConfigError where no open path leads from the site to the answer: measuring there would be a silent no-op."""
    last = site.position == model.n_thoughts
    if site.inside:
        start += 1  # the block's own keys and values were made before
    cache_open = propagate != "recurrence" and start < model.n_layers
    if site.layer is None:
        # a changed thought is fed as an input, so its keys are of the next position, and come by the recurrence alone
        cache_open = propagate == "both" and site.component == "thought" and not last
    recurrence_open = propagate != "cache" and not last
    if not (cache_open or recurrence_open):
        raise ConfigError(
            f"A change at {site} cannot reach the answer with propagate={propagate!r}: no later step reads it.",
            f"Use an earlier position or layer, or propagate='both' (the last position is {model.n_thoughts}).",
        )


def remaining_thoughts(
    model: CodiModel, state: ChainState, until: int | None = None, recorder: Recorder | None = None
) -> ChainState:
    """The state after the last thought, or after position `until`; gradients flow unless the caller stops them."""
    while state.position < (model.n_thoughts if until is None else until):
        state = model.step_thought(state, None, recorder)
    return state


def add_in_float32(x: Tensor, delta: Tensor) -> Tensor:
    """x + delta, summed in float32 and in x's dtype again.

    Plans are made in float32. In bfloat16, with its 8 significant bits, a delta rounded before it is added and a sum
    rounded again would lose digits twice; so only the sum is rounded.
    """
    # float32 in, float32 out: there the casts are no-ops and the sum is the plain one
    return (x.float() + delta.to(x.device)).to(x.dtype)
