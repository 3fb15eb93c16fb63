"""What an SAE costs the model: answers when its reconstruction takes the activation's place."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from codi_int.errors import ConfigError
from codi_int.model.hooked import CodiModel
from codi_int.model.hooks import HookContext
from codi_int.model.rollout import Rollout
from codi_int.sae.base import SAE, check_fits
from codi_int.types import Completion, Number, Problem, Site


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
    """Run the three arms.

    Raises:
        ConfigError: no problems.
        SAEError, SiteError: an SAE that does not fit, a site that does not exist.
    """
    if not problems:
        raise ConfigError("There are no problems to measure on.", "Give at least one.")
    model.check_site(site)
    check_fits(sae, model, site)
    mean = model.think(problems, capture=[site]).at(site).values.mean(dim=0)

    def rebuild(resid: Tensor, context: HookContext) -> Tensor:
        return sae.decode(sae.encode(resid)).to(resid.dtype)

    def flatten(resid: Tensor, context: HookContext) -> Tensor:
        return mean.expand_as(resid)

    correct, logprobs = torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.float64)
    for batch in model.batches(problems):
        truth = [problems[row].answer for row in batch.rows]
        clean = model.rollout(batch)
        arms = [clean]
        for hook in (rebuild, flatten):
            with torch.no_grad(), model.hooks({site: hook}):
                arms.append(model.rollout(batch))
        correct += torch.tensor([_n_correct(arm.completions, truth) for arm in arms])
        logprobs += torch.stack([_clean_logprobs(model, arm, clean).double().sum().cpu() for arm in arms])
    shares, means = (correct / len(problems)).tolist(), (logprobs / len(problems)).tolist()
    return SplicedMetrics(len(problems), *shares, *means)


def _n_correct(completions: Sequence[Completion], truth: Sequence[Number]) -> int:
    return sum(c.answer is not None and abs(c.answer - t) < 1e-6 for c, t in zip(completions, truth, strict=True))


@torch.no_grad()
def _clean_logprobs(model: CodiModel, arm: Rollout, clean: Rollout) -> Float[Tensor, " batch"]:
    """Log-probability of every clean answer after an arm's thoughts."""
    ids, counts = clean.decoded.ids, clean.decoded.counts
    scores = model.teacher_force(arm.state_at(model.n_thoughts), ids[:, :-1]).float()
    steps = torch.arange(ids.shape[1], device=ids.device)
    meant = steps[None] < counts[:, None]
    chosen = ids.clamp(max=scores.shape[-1] - 1)[..., None]
    logprobs = scores.gather(2, chosen)[..., 0] - scores.logsumexp(-1)
    return (logprobs * meant).sum(dim=1)
