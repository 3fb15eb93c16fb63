"""Records of what was selected, on what, and what became of it on problems that selected nothing."""

from dataclasses import dataclass

from codi_int.records import Alias, Estimate, flat_names


@dataclass(frozen=True)
class Confirmation:
    """How something that was selected did on problems that did not select it."""

    n: int
    """problems that confirm"""
    n_broken: int
    """of them right before, wrong after"""
    n_fixed: int
    """wrong before, right after"""
    accuracy: Estimate
    """change of accuracy on them; p-values are corrected over what was selected (Holm), folds at half the level each"""
    logprob: Estimate
    """the same for the mean change of the clean answer's log-probability, nats"""
    confirmed: bool | None
    """whether the change of accuracy is confirmed: adjusted p below the level and the same sign; None where accuracy
    did not select"""
    confirmed_logprob: bool | None
    """the same for the log-probability"""
    power: float | None
    """chance that a change of accuracy as large as the selecting problems showed is confirmed; None where accuracy did
    not select"""
    p_equivalence: float | None = None
    """that accuracy changes by less than the bound, on these problems, corrected over what was selected (Holm)"""
    fresh: Estimate | None = None
    """change of accuracy without the problems whose chain of calculations a selecting problem has; None where no
    problem was left out, or none is left"""
    n_fresh: int | None = None
    """problems that are left then"""
    fold: int | None = None
    """the fold that selected by accuracy (else by the log-probability), where two folds confirm each other"""


class FlatConfirmation:
    """The flat names of a row that holds `confirmation: Confirmation | None`."""

    confirmed = Alias[bool | None]("confirmation.confirmed")
    confirmed_logprob = Alias[bool | None]("confirmation.confirmed_logprob")
    confirmation_n = Alias[int | None]("confirmation.n")
    confirmation_broken = Alias[int | None]("confirmation.n_broken")
    confirmation_fixed = Alias[int | None]("confirmation.n_fixed")
    confirmation_estimate = Alias[float | None]("confirmation.accuracy.value")
    confirmation_low = Alias[float | None]("confirmation.accuracy.low")
    confirmation_high = Alias[float | None]("confirmation.accuracy.high")
    confirmation_p = Alias[float | None]("confirmation.accuracy.p_value")
    confirmation_p_adjusted = Alias[float | None]("confirmation.accuracy.p_adjusted")
    confirmation_p_equivalence = Alias[float | None]("confirmation.p_equivalence")
    confirmation_power = Alias[float | None]("confirmation.power")
    confirmation_fold = Alias[int | None]("confirmation.fold")
    confirmation_logprob = Alias[float | None]("confirmation.logprob.value")
    confirmation_logprob_low = Alias[float | None]("confirmation.logprob.low")
    confirmation_logprob_high = Alias[float | None]("confirmation.logprob.high")
    confirmation_logprob_p = Alias[float | None]("confirmation.logprob.p_value")
    confirmation_logprob_p_adjusted = Alias[float | None]("confirmation.logprob.p_adjusted")
    fresh_n = Alias[int | None]("confirmation.n_fresh")
    fresh_estimate = Alias[float | None]("confirmation.fresh.value")
    fresh_low = Alias[float | None]("confirmation.fresh.low")
    fresh_high = Alias[float | None]("confirmation.fresh.high")
    fresh_p = Alias[float | None]("confirmation.fresh.p_value")


CONFIRMATION_COLUMNS = ("selected", "selected_logprob", *flat_names(FlatConfirmation))
"""whether a row was selected, and the flat names of its confirmation, in the order of a table"""


@dataclass(frozen=True)
class Selection:
    """What was looked at, what was selected on which problems, and what confirmed it on which others."""

    correction: str
    """of the family: discrete, heyse, max-t, holm or bh"""
    alpha: float
    """level of the family"""
    bound: float
    """the smallest change of accuracy that matters, declared beforehand"""
    n_tested: int
    """members of the family of accuracy"""
    n_untested: int
    """what touches some problems, but too few ever to be significant; no members"""
    n_selected: int
    """findings of accuracy on the selecting problems"""
    n_confirmed: int | None
    """of them confirmed; None where nothing was to be"""
    n_selected_logprob: int
    """findings of the log-probability"""
    n_confirmed_logprob: int | None
    """of them confirmed"""
    minimum_detectable: float | None
    """the smallest true change of accuracy that would be found in this family with 80% power by an edit that may change
    any answer, rounded up to a tenth of a point; None where none would"""
    fewest_for_equivalence: int
    """problems below which no change within the bound can be shown, even without a flip"""
    selected_on: str
    """name of the problems that select"""
    n_selecting: int
    """how many"""
    selected_sha256: str
    """their hash"""
    confirmed_on: str | None
    """name of the problems that confirm; `folds` for two folds that confirm each other; None where none do"""
    n_confirming: int | None = None
    """how many; None for folds"""
    confirmed_sha256: str | None = None
    """their hash"""
    n_correct_confirming: int | None = None
    """of them right without an edit"""
    seconds: float = 0.0
    """wall time of confirming"""
