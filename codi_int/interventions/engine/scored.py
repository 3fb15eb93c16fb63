"""Arms that were scored on a clean pass, remembered by what they do: the next edit of a site often asks for them again.

An edit's controls are other features of its site, and features that fire as often share most of theirs.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from hashlib import sha256

from torch import Tensor

from codi_int.interventions.engine.arms import ArmPlan, ArmScores

MOST_ROWS = 2**18
"""rows whose scores are remembered, the latest asked for: about 20 MB, a whole screen of 512 features ten times over"""


class ScoredArms:
    """Scores of arms, told from each other by the numbers they add and not by what they are called.

    So an SAE that was changed in the meantime, whose edits add others, is seen.
    """

    def __init__(self, most_rows: int = MOST_ROWS) -> None:
        self._most = most_rows
        self._n_rows = 0
        self._kept: OrderedDict[Hashable, ArmScores] = OrderedDict()

    @property
    def n_rows(self) -> int:
        """Rows whose scores are remembered."""
        return self._n_rows

    def scores(
        self, plans: Sequence[ArmPlan], how: Hashable, score: Callable[[Sequence[ArmPlan]], Sequence[ArmScores]]
    ) -> list[ArmScores]:
        """Scores of some arms; those that are not known are found together.

        Args:
            plans: the arms.
            how: everything but what they add that decides what comes out, such as the paths.
            score: finds the scores of arms.
        """
        keys = [(how, digest_of(plan)) for plan in plans]
        # equal arms are run once, whatever they are called
        wanted = {key: plan for key, plan in zip(keys, plans, strict=True) if key not in self._kept}
        found = dict(zip(wanted, score(list(wanted.values())), strict=True)) if wanted else {}
        out = [found[key] if key in found else self._kept[key] for key in keys]
        for key, scores in zip(keys, out, strict=True):
            self._keep(key, scores)
        return out

    def _keep(self, key: Hashable, scores: ArmScores) -> None:
        if key not in self._kept:
            self._kept[key] = scores
            self._n_rows += len(scores.logprobs)
        self._kept.move_to_end(key)
        while self._n_rows > self._most:
            _, forgotten = self._kept.popitem(last=False)
            self._n_rows -= len(forgotten.logprobs)


def digest_of(plan: ArmPlan) -> bytes:
    """What an arm does to which problems, in 32 bytes; its label has no part in it."""
    whole = sha256(plan.rows.numpy().tobytes())
    for change in plan.changes:
        whole.update(repr(change.site).encode())
        for part in (change.delta, change.value):
            whole.update(b"none" if part is None else _bytes_of(part))
    return whole.digest()


def _bytes_of(values: Tensor) -> bytes:
    # the shape as well: one long change must not be taken for two short ones. Plans are made in float32
    return repr(tuple(values.shape)).encode() + values.detach().cpu().float().numpy().tobytes()
