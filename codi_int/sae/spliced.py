"""What an SAE costs the model: answers when its reconstruction takes the activation's place.

At `resid_post` only what comes after the site is run, for every SAE of the site from one clean pass; the clean answer's
tokens are fed in one forward, and an arm writes only the answers in which some choice differs. At other components, and
where rows are too close to call, a hook replaces the activation and everything runs again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from codi_int.data.answers import is_right
from codi_int.errors import ConfigError
from codi_int.model.chain import ChainState
from codi_int.model.hooked import CodiModel
from codi_int.model.resume import SiteChange, make_resume_point
from codi_int.model.rollout import Rollout
from codi_int.model.scoring import MARGIN_TOLERANCE, Verified, decode_rows, verify
from codi_int.progress import Progress
from codi_int.sae.base import SAE, check_fits
from codi_int.types import Number, Problem, Site

Replacement = Callable[[Tensor], Tensor]
"""what takes the place of activations [rows, d_model]"""


@dataclass(frozen=True)
class SplicedMetrics:
    """Three arms on the same problems: clean, the SAE's reconstruction in place, the mean activation in place."""

    n_problems: int
    """problems that were run"""
    accuracy_clean: float
    """share answered correctly"""
    accuracy_spliced: float
    """the same with x replaced by decode(encode(x))"""
    accuracy_mean: float
    """the same with x replaced by its mean over these problems, the usual zero point"""
    logprob_clean: float
    """log-probability of the clean answer in nats, mean over problems"""
    logprob_spliced: float
    """the same answer's, with the reconstruction in place"""
    logprob_mean: float
    """the same answer's, with the mean in place"""

    @property
    def accuracy_recovered(self) -> float | None:
        """Where the spliced accuracy lies between mean (0) and clean (1); None where those two are equal."""
        return _between(self.accuracy_mean, self.accuracy_spliced, self.accuracy_clean)

    @property
    def loss_recovered(self) -> float | None:
        """The same for the log-probability of the clean answer."""
        return _between(self.logprob_mean, self.logprob_spliced, self.logprob_clean)


def _between(low: float, value: float, high: float) -> float | None:
    return None if high == low else (value - low) / (high - low)


def measure_spliced(model: CodiModel, sae: SAE, site: Site, problems: Sequence[Problem]) -> SplicedMetrics:
    """Run the three arms; see `measure_spliced_all`."""
    return measure_spliced_all(model, [sae], site, problems)[0]


def measure_spliced_all(
    model: CodiModel,
    saes: Sequence[SAE],
    site: Site,
    problems: Sequence[Problem],
    progress: Progress | None = None,
) -> tuple[SplicedMetrics, ...]:
    """Run the three arms for every SAE of a site; the clean one and the mean are run once for all of them.

    Args:
        progress: called after every batch; the stage is `spliced at` the site.

    Raises:
        ConfigError: no problems.
        SAEError, SiteError: an SAE that does not fit, a site that does not exist.
    """
    if not problems:
        raise ConfigError("There are no problems to measure on.", "Give at least one.")
    # an SAE without provenance fits any site, so `check_fits` alone would let one through that does not exist
    model.check_site(site)
    for sae in saes:
        check_fits(sae, model, site)
    # over all problems, not per batch: a batch holds questions of like lengths only
    mean = model.think(problems, capture=[site]).at(site).values.mean(dim=0)
    replacements: list[Replacement] = [lambda x: mean.expand_as(x), *saes]
    # one total per arm: clean, mean, then the SAEs; whole numbers and float64, so that many batches lose nothing
    correct = torch.zeros(1 + len(replacements), dtype=torch.int64)
    logprobs, done = torch.zeros(1 + len(replacements), dtype=torch.float64), 0
    for batch in model.batches(problems):
        truth = [problems[row].answer for row in batch.rows]
        clean = model.rollout(batch, [site])
        arms = [_clean_arm(model, clean), *(_replaced_arm(model, clean, site, new) for new in replacements)]
        correct += torch.tensor([_n_correct(arm.answers, truth) for arm in arms])
        logprobs += torch.stack([arm.logprobs.double().sum().cpu() for arm in arms])
        done += len(truth)
        if progress:
            progress(f"spliced at {site}", done, len(problems))
    (share, share_mean, *shares), (logprob, logprob_mean, *means) = (
        (total.double() / len(problems)).tolist() for total in (correct, logprobs)
    )
    return tuple(
        SplicedMetrics(
            n_problems=len(problems),
            accuracy_clean=share,
            accuracy_spliced=spliced,
            accuracy_mean=share_mean,
            logprob_clean=logprob,
            logprob_spliced=spliced_logprob,
            logprob_mean=logprob_mean,
        )
        for spliced, spliced_logprob in zip(shares, means, strict=True)
    )


@dataclass(frozen=True)
class _Arm:
    """How a batch went."""

    answers: Sequence[Number | None]
    """what was answered"""
    logprobs: Float[Tensor, " batch"]
    """log-probability of the clean answers, in nats"""


@torch.no_grad()
def _clean_arm(model: CodiModel, clean: Rollout) -> _Arm:
    found = _against(model, clean.state_at(model.n_thoughts), clean)
    return _Arm([completion.answer for completion in clean.completions], found.logprobs)


@torch.no_grad()
def _replaced_arm(model: CodiModel, clean: Rollout, site: Site, new: Replacement) -> _Arm:
    """The batch with something else at the site."""
    if site.component != "resid_post":
        return _whole_arm(model, clean, site, new)
    arm, close = _suffix_arm(model, clean, site, new)
    if not bool(close.any()):
        return arm
    # Rows that are too close to call are taken from the whole model in the clean pass's batch: only
    # then do they not depend on rounding that another shape brings. One such row costs a run of its batch.
    whole = _whole_arm(model, clean, site, new)
    rows = zip(arm.answers, whole.answers, close.tolist(), strict=True)
    answers = [slow if is_close else fast for fast, slow, is_close in rows]
    return _Arm(answers, torch.where(close, whole.logprobs, arm.logprobs))


def _whole_arm(model: CodiModel, clean: Rollout, site: Site, new: Replacement) -> _Arm:
    """The batch with a hook at the site and the whole model run again."""
    # an SAE may answer in float32, which the layers of a bfloat16 model do not take
    with model.hooks({site: lambda x, context: new(x).to(x.dtype)}):
        rollout = model.rollout(clean.batch)
    found = _against(model, rollout.state_at(model.n_thoughts), clean)
    return _Arm([completion.answer for completion in rollout.completions], found.logprobs)


def _suffix_arm(model: CodiModel, clean: Rollout, site: Site, new: Replacement) -> tuple[_Arm, Bool[Tensor, " batch"]]:
    """The batch run on from the site, and which rows are too close to call."""
    state = _run_on(model, clean, site, new(clean.captured[site]))
    found = _against(model, state, clean)
    answers, close = [completion.answer for completion in clean.completions], found.close.clone()
    rows = found.changed.nonzero()[:, 0]
    written, margins = decode_rows(model, state, rows)
    for row, answer in zip(rows.tolist(), written, strict=True):
        answers[row] = answer
    if len(rows):
        # `verify` has looked at choices up to the first that differs; what is written behind it may be close as well
        close[rows] |= margins < MARGIN_TOLERANCE[model.dtype]
    return _Arm(answers, found.logprobs), close


def _run_on(model: CodiModel, clean: Rollout, site: Site, x: Float[Tensor, "batch d_model"]) -> ChainState:
    """The state after the last thought, run on from another activation at the site."""
    before = clean.captured[site]
    # The activation is put, not added: before + (x - before) is x but for rounding. The delta stands behind it where x
    # is NaN, which a change reads as "nothing is put here": then the sum is NaN as well, and a broken SAE shows.
    change = SiteChange(site, x.float() - before.float(), value=x)
    # at the last position's last block nothing is left to read the site, so an SAE there costs nothing, rightly
    point = make_resume_point(model, site, must_reach=False)
    rows = torch.arange(len(before), device=before.device)
    return point.run_on(model, clean, rows, [change])


def _against(model: CodiModel, state: ChainState, clean: Rollout) -> Verified:
    """How every row stands to its clean answer."""
    # ids are [batch, t]; fed are all but the last, whose logits predict tokens 0 .. t-1
    logits = model.teacher_force(state, clean.decoded.ids[:, :-1])
    rows = torch.arange(logits.shape[0], device=logits.device)
    return verify(logits, clean.decoded, rows, MARGIN_TOLERANCE[model.dtype])


def _n_correct(answers: Sequence[Number | None], truth: Sequence[Number]) -> int:
    return sum(is_right(given, true) for given, true in zip(answers, truth, strict=True))
