"""What the numbers allow one to say, in words. "No effect" is never among them."""

import math
from dataclasses import dataclass
from typing import Any

from codi_int.interventions.edits.adapt import AdaptedEdit, as_edit
from codi_int.interventions.evidence.equivalence import fewest_for_equivalence
from codi_int.interventions.evidence.paired import PairedCounts, fewest_for_significance
from codi_int.types import Effect


@dataclass(frozen=True)
class Tested:
    """p-values as they are to be read: of one edit by itself, or corrected over several that were tried."""

    p_change: float | None
    """of the change of accuracy"""
    p_equivalence: float | None
    """that it stays below the bound"""
    n_tests: int = 1
    """edits that were tried together and could have changed accuracy"""
    p_likelihood: float | None = None
    """of the clean answer's log-probability, or of its probability (see `likelihood_p`), where corrected"""
    n_edits: int = 1
    """edits that were tried together: all of these are tested for equivalence, and for what becomes likely"""
    what: str = "edits"
    """what was tried, where that is no edits"""


def verdict_of(effect: Effect, tested: Tested | None = None) -> str:
    """What an effect's conclusion means, in two or three sentences.

    Args:
        effect: with its conclusion.
        tested: corrected p-values, where it is one of several edits.
    """
    tested = tested or Tested(effect.p_value, effect.p_equivalence)
    words = {"changed": _word_changed, "equivalent": _word_equivalent, "untested": _word_untested}
    accuracy = words.get(effect.conclusion or "", _word_unresolved)(effect, tested)
    # first of all what it is given: a loss while later positions are silent is none that the whole model has
    return f"{effect.condition} {accuracy} {_word_likelihood(effect, tested)}".strip()


def likelihood_p(effect: Effect) -> float | None:
    """The p-value that a verdict on the clean answer's likelihood rests on: in nats; where that has none, in points."""
    if effect.logprob is not None and effect.logprob.p_value is not None:
        return effect.logprob.p_value
    return None if effect.probability is None else effect.probability.p_value


def dead_verdict(edit: Any, n: int) -> str:
    """`Feature 7 is dead here: nothing to ablate. ...`"""
    found = as_edit(edit)
    features, kind = found.features, found.kind
    # "dead" follows only where a feature that fires would have been changed; see `_only_moves_firing`
    if features and _only_moves_firing(found):
        verb, several = kind if kind != "several" else "change", len(features) > 1
        state = f"Feature{'s' * several} {', '.join(map(str, features))} {'are' if several else 'is'} dead here"
        what = f"{state}: nothing to {verb}."
    else:
        what = "The edit changes nothing here."
    return f"{what} {_nothing_differs(n)}"


def untouched_verdict(counts: PairedCounts) -> str:
    """What is said of an edit that touched none of the problems, where no more is known of it."""
    if not counts.discordant:
        return f"The edit changes nothing here. {_nothing_differs(counts.n)}"
    return (
        f"The edit changes nothing on any of the {counts.n:,} problems, so nothing is tested: the "
        f"{counts.broken:,} broken and {counts.fixed:,} fixed answers have another cause."
    )


def _nothing_differs(n: int) -> str:
    return f"Nothing differs on any of the {n:,} problems, so nothing is tested."


def _only_moves_firing(edit: AdaptedEdit) -> bool:
    """Whether an edit that changes nothing shows that its features never fire."""
    # These leave a latent of 0 at 0: a multiple of it, an exchange with another 0, zero or the mean of zeros. A clamp,
    # a steer or `set` act on silent features as well.
    return edit.kind in ("amplify", "swap") or (edit.kind == "ablate" and edit.mode in ("zero", "mean"))


def _word_changed(effect: Effect, tested: Tested) -> str:
    direction = "hurts" if effect.estimate < 0 else "helps"
    small = _below(tested.p_equivalence, effect)
    within = f" It changes by less than the bound of {_share(effect.bound)} points ({_p(tested.p_equivalence)})."
    # the exact test and the score interval may disagree where p is close to the level
    border = " The interval reaches 0: this is at the border." if effect.low <= 0.0 <= effect.high else ""
    return (
        f"The intervention {direction}: accuracy changes by {_points(effect.estimate)} points "
        f"({effect.confidence:.0%} interval {_points(effect.low)} to {_points(effect.high)}, "
        f"{_p(tested.p_change)}{_family(tested)}; {_flips(effect)}).{border}{within if small else ''}"
    )


def _word_equivalent(effect: Effect, tested: Tested) -> str:
    return (
        f"Accuracy stays within {_share(effect.bound)} points: a change as large as that is ruled out "
        f"({_p(tested.p_equivalence)}{_holm(tested.n_edits, tested.what)}; {_flips(effect)} of {effect.n:,})."
    )


def _word_untested(effect: Effect, tested: Tested) -> str:
    alpha = 1.0 - effect.confidence
    touched = "few" if effect.n_touched is None else f"{effect.n_touched:,} of {effect.n:,}"
    return (
        f"Untested: the edit touches {touched} problems, and flips on fewer than {fewest_for_significance(alpha)} "
        f"different ones cannot reach p < {alpha:.2g} whichever way they go ({_flips(effect)}).{_word_possible(effect)}"
    )


def _word_possible(effect: Effect) -> str:
    if effect.largest_possible is None or effect.largest_in_population is None:
        return ""
    return (
        f" It can change accuracy by at most {_share(effect.largest_possible)} points here, and by "
        f"{_share(effect.largest_in_population)} on other problems of the kind ({effect.confidence:.0%} upper limit)."
    )


def _word_unresolved(effect: Effect, tested: Tested) -> str:
    power = (
        "No change that this edit can make would be found with 80% power."
        if effect.minimum_detectable is None
        else f"A true change of {100 * effect.minimum_detectable:.1f} points or more would be found with 80% power."
    )
    bounded = "" if effect.bound is None else f", nor that it stays within {_share(effect.bound)} points"
    bounded += f" ({_p(tested.p_equivalence)})" if bounded and tested.p_equivalence is not None else ""
    needed = fewest_for_significance(1.0 - effect.confidence)
    # said apart: here no data of this many flips could have been significant
    few = f", and fewer than {needed} cannot reach p < {1.0 - effect.confidence:.2g}"
    return (
        f"Unresolved: no change of accuracy is shown ({_p(tested.p_change)}{_family(tested)}; {_flips(effect)} of "
        f"{effect.n:,}{few if effect.n_broken + effect.n_fixed < needed else ''}){bounded}. "
        f"{power}{_word_too_few(effect)}"
    )


def _word_too_few(effect: Effect) -> str:
    """Said where no data of so many problems could have shown equivalence."""
    if effect.bound is None:
        return ""
    # in problems as they come here, of which several may count as one
    needed = math.ceil(fewest_for_equivalence(effect.bound, 1.0 - effect.confidence) * (effect.design_effect or 1.0))
    if effect.n >= needed:
        return ""
    return f" To show {_share(effect.bound)} points takes {needed:,} problems even without a flip."


def _word_likelihood(effect: Effect, tested: Tested) -> str:
    alpha, log, probability = 1.0 - effect.confidence, effect.logprob, effect.probability
    p_value = likelihood_p(effect) if tested.p_likelihood is None else tested.p_likelihood
    if p_value is not None and log is not None and log.p_value is not None:
        numbers = f"{log.estimate:+.3g} nats, {p_words(p_value)}{_holm(tested.n_edits, tested.what)}"
        if p_value >= alpha:
            return f"No shift of the clean answer's log-probability shown ({numbers})."
        return f"The clean answer becomes {'less' if log.estimate < 0 else 'more'} likely ({numbers})."
    if p_value is None or probability is None or probability.low is None or probability.high is None:
        return ""
    ends = f"{effect.confidence:.0%} interval {100 * probability.low:+.2f} to {100 * probability.high:+.2f}"
    numbers = f"{100 * probability.estimate:+.2g} points of probability, {ends}"
    # the interval is the edit's own; where several were tried, their correction decides
    numbers += f", {p_words(p_value)}{_holm(tested.n_edits, tested.what)}" if tested.n_edits > 1 else ""
    if p_value >= alpha:
        return f"No shift of the clean answer's probability shown ({numbers})."
    return f"The clean answer becomes {'less' if probability.estimate < 0 else 'more'} likely ({numbers})."


def p_words(p_value: float) -> str:
    """`p = 0.032`, `p < 0.0001`."""
    return "p < 0.0001" if p_value < 1e-4 else f"p = {p_value:.2g}"


def _p(p_value: float | None) -> str:
    return "not tested" if p_value is None else p_words(p_value)


def _family(tested: Tested) -> str:
    return _holm(tested.n_tests, tested.what)


def _holm(n: int, what: str) -> str:
    return f" after Holm over {n:,} {what}" if n > 1 else ""


def _flips(effect: Effect) -> str:
    return f"{effect.n_broken:,} broken, {effect.n_fixed:,} fixed"


def _below(p_value: float | None, effect: Effect) -> bool:
    return p_value is not None and p_value < 1.0 - effect.confidence


def _share(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2g}"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
