"""Notes: what a reader of a result has to be warned of, worded in one place and given once.

A record keeps them in `notes`, and so does its document; Python gets each as a `CodiWarning` that names the caller's
line, and commands print each once on stderr. What they are about is measured elsewhere, and handed over as numbers.
"""

import sys
import warnings
from collections.abc import Iterable, Sequence

from codi_int.errors import CodiWarning

LEAST_EXPLAINED = 0.5
"""share of the variance at its site below which an SAE's features stand for too little of the model"""
MOST_LOST = 0.02
"""accuracy that an SAE's reconstruction may cost before effects of its features drown in it"""
WORDS_SHOWN = 6
"""unknown words that a note names"""
SAES_SHOWN = 3
"""SAEs of a grid that a note names, the worst first"""

_NOT_THE_CALLER = ("codi_int", "torch", "beartype", "jaxtyping", "contextlib")


def unknown_words_note(model: str, n_affected: int, n_questions: int, words: Sequence[str]) -> str:
    """For questions with words outside the vocabulary; `words` without repeats, the commonest first."""
    named = ", ".join(words[:WORDS_SHOWN]) + (f" and {len(words) - WORDS_SHOWN:,} more" * (len(words) > WORDS_SHOWN))
    which = f" ({named})" if words else ""
    return (
        f"{n_affected:,} of {_questions(n_questions)} {'holds' if n_affected == 1 else 'hold'} words that {model} "
        f"does not know{which}: it reads each as one unknown token, and its answers there are guesses."
    )


def unexplained_note(where: str, explained_variance: float) -> str:
    """For an SAE that leaves most of the activations out."""
    return (
        f"The SAE {where} explains {_percent(explained_variance)} % of the variance (below "
        f"{_percent(LEAST_EXPLAINED)} %): its features stand for little of what the model does there."
    )


def costly_note(where: str, clean: float, reconstructed: float) -> str:
    """For an SAE whose reconstruction alone changes answers; both are accuracies."""
    return (
        f"The reconstruction of the SAE {where} alone costs {_percent(clean - reconstructed)} points of accuracy "
        f"({_percent(clean)} to {_percent(reconstructed)} %; more than {_percent(MOST_LOST)}): what its features do "
        "is measured in a model that it does not rebuild."
    )


def idle_hooks_note(places: Sequence[str]) -> str:
    """For hooks that returned tensors and changed nothing by them."""
    return (
        f"The hook{'s' * (len(places) > 1)} at {', '.join(places)} changed nothing: every tensor that came back was "
        "the one that was handed over."
    )


def idle_edit_note(label: str, n_problems: int) -> str:
    """For an edit that leaves every activation as it was, though no feature is dead."""
    return f"{label!r} changed nothing on any of {n_problems:,} problems, so nothing was tested."


def sae_notes(where: str, explained_variance: float | None, accuracies: tuple[float, float] | None) -> tuple[str, ...]:
    """What is to be said of an SAE; of what was not measured, nothing.

    Args:
        where: `at L14.P3`, or its name.
        explained_variance: at its site, on the problems of the run.
        accuracies: of the clean model, and with its reconstruction in place of the activations.
    """
    found = []
    if explained_variance is not None and explained_variance < LEAST_EXPLAINED:
        found.append(unexplained_note(where, explained_variance))
    if accuracies is not None and accuracies[0] - accuracies[1] > MOST_LOST:
        found.append(costly_note(where, *accuracies))
    return tuple(found)


def grid_notes(saes: Sequence[tuple[str, float, tuple[float, float] | None]]) -> tuple[str, ...]:
    """`sae_notes` of many SAEs that were trained together: one note for all that explain too little, one for the cost.

    Args:
        saes: where or name, explained variance, and the two accuracies or None, as for `sae_notes`.
    """
    if len(saes) == 1:
        return sae_notes(*saes[0])
    unexplained = sorted((explained, name) for name, explained, _ in saes if explained < LEAST_EXPLAINED)
    costs = sorted(((before - after, name) for name, _, pair in saes if pair for before, after in [pair]), reverse=True)
    costly = [(lost, name) for lost, name in costs if lost > MOST_LOST]
    found = []
    if unexplained:
        found.append(
            f"{len(unexplained):,} of {len(saes):,} SAEs explain less than {_percent(LEAST_EXPLAINED)} % of the "
            f"variance ({_worst(unexplained, ' %')}): their features stand for little of what the model does there."
        )
    if costly:
        found.append(
            f"The reconstructions of {len(costly):,} of {len(saes):,} SAEs alone cost more than {_percent(MOST_LOST)} "
            f"points of accuracy ({_worst(costly, '')}): what their features do is measured in a model that they do "
            "not rebuild."
        )
    return tuple(found)


def give(notes: Iterable[str]) -> None:
    """Each as a warning at the line that called this package; Python shows a warning of one line once."""
    for note in notes:
        warn_caller(note, CodiWarning)


def warn_caller(message: str, category: type[Warning]) -> None:
    """A warning that names the line of the user's code."""
    # A fixed number of frames would be wrong for some: functions are called by users and by each other, and torch's
    # no_grad, a `with` block or a checker of annotations stands in between.
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in _NOT_THE_CALLER:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _questions(n: int) -> str:
    return f"{n:,} question{'s' * (n != 1)}"


def _worst(saes: Sequence[tuple[float, str]], unit: str) -> str:
    """`L3.P2 d=64 K=5: 12.3 %, ... and 4 more`."""
    named = ", ".join(f"{name}: {_percent(share)}{unit}" for share, name in saes[:SAES_SHOWN])
    return named + (f" and {len(saes) - SAES_SHOWN:,} more" if len(saes) > SAES_SHOWN else "")


def _percent(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0")
