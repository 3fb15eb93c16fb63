"""What the numbers allow one to say, in words."""

from typing import Any

from codi_int.interventions.edits.adapt import AdaptedEdit, as_edit
from codi_int.interventions.evidence.paired import Interval, PairedCounts, fewest_for_significance
from codi_int.types import LogprobEffect


def verdict_of(
    counts: PairedCounts,
    interval: Interval,
    p_value: float,
    smallest: float | None,
    logprob: LogprobEffect | None,
) -> str:
    """One or two sentences; never "no effect", which only an equivalence test may claim."""
    alpha = 1.0 - interval.confidence
    accuracy = (
        _word_finding(counts, interval, p_value)
        if p_value < alpha
        else _word_no_finding(counts, p_value, smallest, alpha)
    )
    return f"{accuracy} {_word_logprob(logprob, alpha)}".rstrip()


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
        f"{counts.broken} broken and {counts.fixed} fixed answers have another cause."
    )


def _nothing_differs(n: int) -> str:
    return f"Nothing differs on any of the {n:,} problems, so nothing is tested."


def _only_moves_firing(edit: AdaptedEdit) -> bool:
    """Whether an edit that changes nothing shows that its features never fire."""
    # These leave a latent of 0 at 0: a multiple of it, an exchange with another 0, zero or the mean of zeros. A clamp,
    # a steer or `set` act on silent features as well.
    return edit.kind in ("amplify", "swap") or (edit.kind == "ablate" and edit.mode in ("zero", "mean"))


def _word_finding(counts: PairedCounts, interval: Interval, p_value: float) -> str:
    direction = "hurts" if counts.estimate < 0 else "helps"
    return (
        f"The intervention {direction}: accuracy changes by {_points(counts.estimate)} points "
        f"({interval.confidence:.0%} interval {_points(interval.low)} to {_points(interval.high)}, "
        f"{p_words(p_value)}; {counts.broken} broken, {counts.fixed} fixed)."
    )


def _word_no_finding(counts: PairedCounts, p_value: float, smallest: float | None, alpha: float) -> str:
    power = (
        ""
        if smallest is None
        else (f" A true change of {100 * smallest:.1f} points or more would be found with 80% power.")
    )
    needed = fewest_for_significance(alpha)
    # Said apart from "not shown": here no data of this many flips could have been significant.
    if counts.discordant < needed:
        return (
            f"Too few flips to tell: {counts.discordant} of {counts.n:,} answers flipped between right and wrong, and "
            f"fewer than {needed} cannot reach p < {alpha:.2g} whichever way they go.{power}"
        )
    return (
        f"No change of accuracy shown ({p_words(p_value)}; {counts.broken} broken, {counts.fixed} fixed); "
        f"this does not show that there is none.{power}"
    )


def _word_logprob(logprob: LogprobEffect | None, alpha: float) -> str:
    if logprob is None or logprob.p_value is None:
        return ""
    numbers = f"{logprob.estimate:+.3g} nats, {p_words(logprob.p_value)}"
    if logprob.p_value >= alpha:
        return f"No shift of the clean answer's log-probability shown ({numbers})."
    return f"The clean answer becomes {'less' if logprob.estimate < 0 else 'more'} likely ({numbers})."


def p_words(p_value: float) -> str:
    """`p = 0.032`, `p < 0.0001`."""
    return "p < 0.0001" if p_value < 1e-4 else f"p = {p_value:.2g}"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
