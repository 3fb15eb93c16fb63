"""An engine whose scores outlive its process: what a stopped run has scored is read when the same run goes on.

For runs that score a few large lists of arms one after the other, such as curves and patches. A list is known as a
whole or not at all, so what shares a batch, and with it the last digits, is the same in a run that was stopped.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import torch

from codi_int.data.problems import problems_sha256
from codi_int.interventions.engine.arms import ArmPlan, ArmScores
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.scored import digest_of
from codi_int.interventions.engine.site_context import SiteContext
from codi_int.progress import Progress
from codi_int.unit_files import Arrays, UnitFiles

TENSORS = ("logprobs", "changed", "rerun", "margins", "thoughts")


class ResumingEngine(FeatureInterventionEngine):
    """See the module."""

    files: UnitFiles | None = None
    """where scores are kept; None for nowhere"""

    def score(
        self, context: SiteContext, plans: Sequence[ArmPlan], progress: Progress | None = None
    ) -> list[ArmScores]:
        """As the engine's; read where an earlier process has scored the same arms."""
        if self.files is None:
            return super().score(context, plans, progress)
        how = (context.resume_point.propagate, self.method, self.max_rows, context.condition)
        key = sha256(f"{how} {problems_sha256(context.clean.problems)}".encode())
        for plan in plans:
            key.update(digest_of(plan))
        name = key.hexdigest()
        if (known := self.files.read(name)) is not None:
            return _read(*known)
        scores = super().score(context, plans, progress)
        self.files.keep(name, [list(one.answers) for one in scores], _arrays(scores))
        return scores


def _arrays(scores: Sequence[ArmScores]) -> dict[str, Any]:
    found = {f"{i}.{name}": getattr(one, name) for i, one in enumerate(scores) for name in TENSORS}
    return {name: value.cpu().numpy() for name, value in found.items() if value is not None}


def _read(answers: Sequence[Sequence[Any]], arrays: Arrays) -> list[ArmScores]:
    def tensor(i: int, name: str) -> Any:
        value = arrays.get(f"{i}.{name}")
        return None if value is None else torch.from_numpy(np.ascontiguousarray(value))

    return [
        ArmScores(answers=tuple(given), **{name: tensor(i, name) for name in TENSORS})
        for i, given in enumerate(answers)
    ]
