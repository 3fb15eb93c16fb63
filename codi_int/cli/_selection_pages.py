"""What pages say of a family: what was selected, what became of it where nothing was selected, and in four words."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from codi_int.cli._fitting import Column, FittedTable, table
from codi_int.cli._numbers import counted, interval_text, nats, p_text, percentage, points

if TYPE_CHECKING:
    from codi_int.interventions.screens.confirmed import Selection


def family_words(selection: "Selection", one: str, many: str) -> str:
    """How many were tested, by which correction, and how many were selected and confirmed, by either measure."""
    from codi_int.interventions.evidence.family import correction_words

    s, parts = selection, []
    if s.n_untested:
        parts.append(f"{counted(s.n_untested, f'{one} touches', f'{many} touch')} too few problems to be tested.")
    level = f"at {percentage(s.alpha, 0)} % ({correction_words(s.correction)})"
    parts.append(f"{counted(s.n_tested, one, many)} tested {level}.")
    measures = {
        "accuracy": _found(s.n_selected, s.n_confirmed),
        "log-probability": _found(s.n_selected_logprob, s.n_confirmed_logprob),
    }
    where = f"confirmed on {place_words(s)}" if s.confirmed_on else "confirmed nowhere"
    parts.append(f"Selected, and {where}: {', '.join(f'{name} {found}' for name, found in measures.items())}.")
    return " ".join(parts)


def _found(n: int, confirmed: int | None) -> str:
    return f"{n:,}" if confirmed is None else f"{confirmed:,} of {n:,}"


def place_words(selection: "Selection") -> str:
    """`1,495 problems of stories:confirmation`, `the other fold`."""
    if selection.confirmed_on == "folds":
        return "the other fold of the problems"
    return f"{selection.n_confirming or 0:,} problems of {selection.confirmed_on}"


def conclusion_words(rows: Iterable[Any], selection: "Selection", brief: bool = False) -> str:
    """`changed 2, equivalent within 0.50 points 620, ...` and, unless brief, what could have been found."""
    from codi_int.interventions.evidence.conclusions import CONCLUSIONS

    s, bound = selection, f"{percentage(selection.bound, 2)} points"
    found = _counted_words((row.conclusion for row in rows), bound, dict.fromkeys(CONCLUSIONS, ""))
    if brief:
        return f"accuracy: {found}."
    smallest = s.minimum_detectable
    power = (
        "No change of accuracy would be found here with 80 % power"
        if smallest is None
        else f"A change of {percentage(smallest)} points or more would be found here with 80 % power"
    )
    parts = [f"Accuracy: {found}.", f"{power}, by an edit that may change any answer."]
    if s.n_selecting < s.fewest_for_equivalence:
        least = f"Fewer than {s.fewest_for_equivalence:,} problems cannot show"
        parts.append(f"{least} that a change is within {bound}, even without a flip.")
    return " ".join(parts)


def additivity_words(rows: Iterable[Any], selection: "Selection") -> str:
    """The same of departures from a sum: `departs 1, adds up within 0.50 points 20, ...`, and what could be shown."""
    from codi_int.interventions.screens.additivity import fewest_for_additivity

    bound = f"{percentage(selection.bound, 2)} points"
    words = {"changed": "departs", "equivalent": "adds up", "untested": "", "unresolved": ""}
    found = _counted_words((row.additivity for row in rows), bound, words)
    fewest = fewest_for_additivity(selection.bound)
    if selection.n_selecting >= fewest:
        return f"Accuracy: {found}."
    return (
        f"Accuracy: {found}. Fewer than {fewest:,} problems cannot show that a mean departure is within {bound}, even "
        "where none departs."
    )


def _counted_words(conclusions: Iterable[str | None], bound: str, words: Mapping[str, str]) -> str:
    """Every conclusion with its number, by its own name where it has no other."""
    counts = Counter(conclusions)
    named = {
        name: f"{word or name} within {bound}" if name == "equivalent" else word or name for name, word in words.items()
    }
    return ", ".join(f"{word} {counts[name]:,}" for name, word in named.items())


def selected_rows(rows: Iterable[Any]) -> list[Any]:
    """Rows that were run again, changed ones first."""
    chosen = [row for row in rows if row.confirmation is not None]
    return sorted(
        chosen,
        key=lambda row: (not row.confirmed, not row.selected, row.confirmation_p is None, row.confirmation_p or 0.0),
    )


def confirmation_table(rows: Sequence[Any], names: Sequence[tuple[str, ...]], headings: Sequence[str]) -> FittedTable:
    """What was selected, as it came out on problems that did not select it.

    Args:
        rows: with a `confirmation` each.
        names: what each is, one cell for each heading.
        headings: of the names.
    """
    fresh = any(row.fresh_estimate is not None for row in rows)
    out = table(
        *headings,
        Column("selected by", rank=4, name="accuracy where it was selected"),
        Column("broken", rank=3, name="broken when confirmed"),
        Column("fixed", rank=3, name="fixed when confirmed"),
        "accuracy",
        Column("interval", rank=2, name="interval of accuracy"),
        "p (Holm)",
        Column("power", rank=4),
        *([Column("new chains", rank=5, name="accuracy on new chains alone")] if fresh else []),
        Column("nats", rank=1),
        Column("nats p (Holm)", rank=1),
        Column("conclusion", text=True),
    )
    for row, name in zip(rows, names, strict=True):
        out.add_row(
            *name,
            points(_selecting(row)) if row.selected else "nats",
            f"{row.confirmation_broken:,}",
            f"{row.confirmation_fixed:,}",
            points(row.confirmation_estimate),
            interval_text(row.confirmation_low, row.confirmation_high, points),
            p_text(row.confirmation_p_adjusted),
            "-" if row.confirmation_power is None else f"{percentage(row.confirmation_power, 0)} %",
            *(["-" if row.fresh_estimate is None else points(row.fresh_estimate)] if fresh else []),
            nats(row.confirmation_logprob),
            p_text(row.confirmation_logprob_p_adjusted),
            (row.additivity if hasattr(row, "additivity") else row.conclusion) or "-",
        )
    return out


def _selecting(row: Any) -> float:
    """The estimate on the problems that selected."""
    return float(row.interaction.estimate if hasattr(row, "interaction") else row.estimate)


def confirmation_title(selection: "Selection") -> str:
    """Above the table of what was selected."""
    return f"what was selected, as it came out on {place_words(selection)}"
