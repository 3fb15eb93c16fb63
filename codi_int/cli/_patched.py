"""What `codi-int patch` found: on its pairs, and what those say that confirm it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codi_int.interventions.patching.claims import ConfirmedClaim, Part
    from codi_int.interventions.patching.pairs import Pairing
    from codi_int.interventions.patching.patch import Participants, ValueContrast
    from codi_int.interventions.patching.predicted import PredictedResult
    from codi_int.interventions.patching.predictions import Predictions

FOLDS = "folds"


@dataclass(frozen=True)
class Found:
    """One patch, or one from pairs of the same value beside one from pairs of another."""

    results: "Sequence[PredictedResult]"
    """one, or two in the order of `KINDS`"""
    trials: "Sequence[Trial]"
    """what was run, in the same order"""
    contrast: "ValueContrast | None"
    """how the two compare; None where there is one"""
    again: "Found | None" = None
    """the same patch on problems that selected nothing; None where no set of its own confirms"""
    claims: "tuple[ConfirmedClaim, ...]" = ()
    """what was found, and what became of it on the problems that confirm"""
    confirmed_on: str | None = None
    """their name, or `folds`; None where nothing confirms"""
    notes: tuple[str, ...] = ()
    """why nothing is confirmed, where something should have been"""

    def document(self) -> dict[str, Any]:
        """Plain JSON types."""
        from codi_int.interventions.engine.summary import family_of

        if len(self.results) == 1:
            found = self.results[0].to_dict()
        else:
            found = {**family_of(self.results).to_dict(), "contrast": self.contrast and self.contrast.to_dict()}
        if self.confirmed_on is None:
            return found
        names = dict.fromkeys(one.name for one in self.claims)
        confirmed = {name: any(one.confirmed for one in self.claims if one.name == name) for name in names}
        again = {} if self.again is None else self.again.document()
        claims = [asdict(one) for one in self.claims]
        return {**found, "confirmation": {**again, "on": self.confirmed_on, "confirmed": confirmed, "claims": claims}}

    def parts(self) -> "list[Part]":
        """Results with their pairs."""
        from codi_int.interventions.patching.claims import Part

        return [Part(result, trial.participants) for result, trial in zip(self.results, self.trials, strict=True)]

    def confirmation_words(self) -> str | None:
        """What was confirmed, in a sentence; None where nothing is to confirm."""
        if self.confirmed_on is None:
            return " ".join(self.notes) or None
        folds = self.confirmed_on == FOLDS
        where = "the other fold" if folds else self.confirmed_on
        if not self.claims:
            return f"Nothing was found that {where} could confirm."
        how = "Holm at half the level, same sign" if folds else "Holm, same sign"
        return f"On {where} ({how}): {'; '.join(map(_claim_words, self.claims))}."


def _claim_words(one: "ConfirmedClaim") -> str:
    from codi_int.cli._numbers import p_text, percentage, points

    found = "" if one.fold is None else f", found by fold {one.fold + 1},"
    words = f"{one.name}{found} is {'confirmed' if one.confirmed else 'not confirmed'}"
    if one.estimate is None:
        return f"{words} (no pair there could be tested)"
    numbers = f"{points(one.estimate)} points, p = {p_text(one.p_adjusted)}"
    return f"{words} ({numbers}; power {percentage(one.power, 0)} % at most)"


@dataclass(frozen=True)
class Trial:
    """One set of pairs, ready to run."""

    pairing: "Pairing"
    """the pairs"""
    participants: "Participants"
    """their problems"""
    predictions: "Predictions"
    """what should become of them; nothing without a step"""
