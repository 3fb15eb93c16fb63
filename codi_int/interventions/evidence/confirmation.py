"""Selection is confirmed: what was picked on some problems is tested again on problems that picked nothing."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.families import adjust
from codi_int.interventions.evidence.paired import PairedCounts, power


@dataclass(frozen=True)
class Candidate:
    """Something that was selected, and how it did on problems that did not select it."""

    key: Hashable
    """what was selected: a feature, a site, a number of features"""
    selected: float | int
    """estimate on the problems that selected it"""
    estimate: float | int
    """estimate on the other problems"""
    p_value: float | int | None
    """test on the other problems; None where it could not be tested there"""


@dataclass(frozen=True)
class Confirmed:
    """What became of a candidate."""

    key: Hashable
    """what was selected"""
    estimate: float | int
    """on the problems that did not select it: the one to be reported"""
    p_adjusted: float | None
    """Holm over what the same problems confirm, times the number of folds; None where not tested"""
    same_sign: bool
    """whether both estimates point the same way"""
    confirmed: bool
    """adjusted p below the level, and the same sign"""


def confirm(folds: Sequence[Sequence[Candidate]], alpha: float = 0.05) -> tuple[tuple[Confirmed, ...], ...]:
    """Test candidates on problems that did not select them.

    With a set of its own for confirmation there is one fold, and this is Holm's procedure over everything selected.
    With two folds that select and confirm each other, each is tested at half the level: adjusted p-values are doubled,
    so that they are compared with the level itself. Estimates of the folds are never pooled; who is selected by both is
    confirmed by either.

    Args:
        folds: the candidates of each fold, with what they did on the other one.
        alpha: level of the whole.

    Raises:
        ConfigError: for a candidate that one fold selected twice.

    Source: S. Holm, Scandinavian Journal of Statistics 6 (1979) 65-70; D. Cox, Biometrika 62 (1975) 441-444, for
    selecting and testing on separate data.
    """
    return tuple(_confirm_fold(fold, len(folds), alpha) for fold in folds)


def _confirm_fold(fold: Sequence[Candidate], n_folds: int, alpha: float) -> tuple[Confirmed, ...]:
    if len({candidate.key for candidate in fold}) < len(fold):
        raise ConfigError("A candidate was selected twice by the same problems.", "Name each once.")
    # Holm's family is what was selected. One that cannot be tested stays out: its selection did not use these problems.
    adjusted = adjust([candidate.p_value for candidate in fold], "holm")
    out = []
    for candidate, p in zip(fold, adjusted, strict=True):
        p_adjusted = None if p is None else min(p * n_folds, 1.0)
        # 0 has no sign that could be the same
        same_sign = bool(candidate.selected * candidate.estimate > 0)
        confirmed = p_adjusted is not None and p_adjusted < alpha and same_sign
        out.append(Confirmed(candidate.key, candidate.estimate, p_adjusted, same_sign, confirmed))
    return tuple(out)


def confirmed_keys(folds: Sequence[Sequence[Confirmed]]) -> frozenset[Hashable]:
    """What any fold confirmed."""
    return frozenset(one.key for fold in folds for one in fold if one.confirmed)


def confirmation_power(selected: PairedCounts, n: int, n_selected: int, n_folds: int = 1, alpha: float = 0.05) -> float:
    """Chance that an effect as large as the selecting problems showed is confirmed, were it the only true one.

    What is selected for being large looks larger than it is, so this is an upper bound rather than a forecast.

    Args:
        selected: flips on the problems that selected it.
        n: problems that confirm.
        n_selected: candidates that they confirm.
        n_folds: folds, each of which is tested at its share of the level.
        alpha: level of the whole.
    """
    loss, gain = selected.broken / selected.n, selected.fixed / selected.n
    return power(n, loss, gain, alpha / (n_folds * max(n_selected, 1)))


def overlap(selecting: Sequence[str], confirming: Sequence[str]) -> tuple[str, ...]:
    """Texts of confirming problems that selected as well, in their order: how many and which an error has to say."""
    seen = set(selecting)
    return tuple(text for text in confirming if text in seen)
