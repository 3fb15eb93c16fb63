"""Several dictionaries of one site as people read them: other seeds, and those in which nothing can be found."""

from collections.abc import Sequence

from rich.console import RenderableType

from codi_int.cli._fitting import Column, FittedTable, Page, table
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, fixed, interval_text, p_text, percentage, points
from codi_int.interventions.screens.dictionaries import (
    AgreementRow,
    DictionaryComparison,
    FoundRow,
    SeedComparison,
    SeedRow,
    StrongestRow,
)
from codi_int.records import Estimate


def seeds_section(found: SeedComparison, top: int) -> list[RenderableType]:
    """Dictionaries of other seeds: how far effects agree, what became of each finding, the strongest side by side."""
    names = ", ".join(other.name for other in found.others)
    parts: list[RenderableType] = ["", Text(f"other dictionaries of the same recipe: {names}", style="bold")]
    parts.append(_dictionaries(found))
    if found.agreements:
        parts += ["", Text("do the effects of features agree with those of their partners?", style="bold")]
        parts += [_agreements(found.agreements), Text(_AGREEMENT_WORDS)]
    if found.found:
        parts += ["", Text(f"what accuracy selected, and its partners, on {found.found_on}", style="bold")]
        parts += [_found(found.found), *(Text(words) for words in found_words(found))]
    else:
        parts += ["", Text("No feature was selected by accuracy, so no finding is to be looked for elsewhere.")]
    shown = strongest_rows(found, top)
    if shown:
        title = f"the strongest features beside their partners, on {found.data}"
        parts += ["", Text(title, style="bold"), _rows(shown)]
    return parts


def seeds_page(found: SeedComparison) -> Page:
    """Dictionaries of other seeds by themselves, every feature beside its partners."""
    return Page(_head(found, "features of one dictionary in others"), *seeds_section(found, len(found.rows)))


def against_page(found: DictionaryComparison) -> Page:
    """Whole dictionaries side by side, by themselves."""
    return Page(_head(found, "dictionaries side by side"), *against_section(found))


def _head(found: SeedComparison | DictionaryComparison, what: str) -> Text:
    head = Text(f"{what} at {found.site} of {found.model}", style="bold")
    about = f"\n{counted(found.n_problems, 'problem')} of {found.data} · seed {found.seed}"
    return head.append(about, style="not bold")


_AGREEMENT_WORDS = (
    "Lin's concordance of mean effects, less sampling noise: 1 where a feature and its partner do the same. Chance: "
    "partners that fire as often, and no more. Intervals speak of other problems, not of other seeds. -: next to "
    "nothing of the effects is left beyond noise, so that no coefficient can be told."
)


def _dictionaries(found: SeedComparison) -> FittedTable:
    out = table(
        "dictionary", "features that fire", "of", Column("variance explained", rank=1), Column("interval", rank=2)
    )
    for note in (found.own, *found.others):
        seed = "" if note.seed is None or note.kind == "seed" else f" (seed {note.seed})"
        explained = note.explained_variance
        out.add_row(
            f"{note.name}{seed}",
            f"{note.n_living:,}",
            f"{note.n_features:,}",
            f"{percentage(explained.value)} %",
            interval_text(explained.low, explained.high, percentage),
        )
    return out


def _agreements(rows: Sequence[AgreementRow]) -> FittedTable:
    out = table(
        "effects of",
        Column("partners in", text=True),
        Column("pairs", rank=1),
        "concordance",
        Column("interval", rank=2, name="interval of concordance"),
        Column("by chance", rank=1),
        Column("beyond chance", rank=3),
        Column("Spearman", rank=4),
    )
    for row in rows:
        beyond = row.beyond_chance
        out.add_row(
            f"{row.measure}, {_PAIRS[row.pairs]}",
            row.dictionary,
            f"{row.n:,}",
            _coefficient(row.concordance),
            _interval(row.concordance),
            "-" if row.chance is None else _coefficient(row.chance),
            "-" if beyond is None else _interval(beyond),
            _coefficient(row.rank_correlation),
        )
    return out


_PAIRS = {"all": "all pairs", "matched": "the same feature"}


def _found(rows: Sequence[FoundRow]) -> FittedTable:
    out = table(
        "feature",
        Column("dictionary", text=True),
        "partner",
        Column("cosine", rank=2),
        Column("overlap", rank=2),
        "accuracy",
        "partner's",
        Column("interval", rank=3, name="interval of the partner's"),
        Column("p (Holm)", rank=1),
        Column("own - partner's", rank=4, name="interval of own - partner's"),
        Column("there", text=True),
    )
    for row in rows:
        its, away = row.other, row.difference
        out.add_row(
            str(row.feature),
            row.dictionary,
            "-" if row.partner is None else str(row.partner),
            fixed(row.cosine, 2),
            f"{percentage(row.overlap, 0)} %",
            points(row.own.value),
            "-" if its is None else points(its.value),
            "-" if its is None else interval_text(its.low, its.high, points),
            "-" if its is None else p_text(its.p_adjusted),
            "-" if away is None else interval_text(away.low, away.high, points),
            "yes" if row.there else "not shown",
        )
    return out


def found_words(found: SeedComparison) -> list[str]:
    """A sentence for each found feature: in how many dictionaries it is, and in how many its effect."""
    out = []
    for feature in dict.fromkeys(row.feature for row in found.found):
        rows = [row for row in found.found if row.feature == feature]
        matched, there, n = sum(row.matched for row in rows), sum(row.there for row in rows), len(rows)
        others = f"{n} other {'dictionary' if n == 1 else 'dictionaries'}"
        what = (
            f"Feature {feature}: matched in {matched} of {others}; its partner changes answers alike in {there} of {n}"
        )
        if there == n:
            end = "every dictionary here has the effect."
        elif there:
            end = "some dictionaries have the effect, and some are not shown to."
        else:
            end = "shown in this dictionary alone, the effect is this dictionary's."
        out.append(f"{what}: {end}")
    return out


def strongest_rows(found: SeedComparison, top: int) -> list[SeedRow]:
    """The rows of the features that change accuracy most, with the probability where that is equal."""
    sizes = {row.feature: (abs(row.accuracy), abs(row.probability)) for row in found.rows}
    strongest = sorted(sizes, key=lambda feature: sizes[feature], reverse=True)[: max(top, 0)]
    place = {feature: i for i, feature in enumerate(strongest)}
    return sorted((row for row in found.rows if row.feature in place), key=lambda row: place[row.feature])


def _rows(rows: Sequence[SeedRow]) -> FittedTable:
    out = table(
        "feature",
        Column("dictionary", text=True),
        "partner",
        Column("cosine", rank=2),
        Column("overlap", rank=2),
        Column("same", rank=3, text=True, name="whether it counts as the same"),
        "accuracy",
        "partner's",
        Column("probability", rank=1),
        Column("partner's", rank=1, name="partner's probability"),
        caption="both in points; probability is that of the clean answer",
    )
    for row in rows:
        out.add_row(
            str(row.feature),
            row.dictionary,
            str(row.partner),
            fixed(row.cosine, 2),
            f"{percentage(row.overlap, 0)} %",
            "yes" if row.matched else "no",
            points(row.accuracy),
            points(row.accuracy_partner),
            points(row.probability),
            points(row.probability_partner),
        )
    return out


def against_section(found: DictionaryComparison) -> list[RenderableType]:
    """Whole dictionaries side by side, and their strongest features rank by rank."""
    parts: list[RenderableType] = ["", Text("this dictionary against others", style="bold"), _against(found)]
    parts.append(Text(against_words(found)))
    if found.strongest:
        title = f"the strongest features, ranked on {found.ranked_on} and measured on {found.measured_on}"
        parts += ["", Text(title, style="bold"), _strongest(found.strongest)]
        parts += [Text(words) for words in strongest_words(found)]
    return parts


def _against(found: DictionaryComparison) -> FittedTable:
    out = table(
        "dictionary",
        Column("variance explained", rank=3),
        Column("fire", rank=2, name="features that fire"),
        "tested",
        "selected",
        "confirmed",
        Column("nats confirmed", rank=5),
        Column("edit", rank=4, name="median size of an edit"),
        Column("median", rank=1, name="median size of effects"),
        Column("interval", rank=4, name="its interval"),
        Column("90 %", rank=1, name="90th percentile of the size of effects"),
        Column("interval", rank=4, name="its interval"),
        caption="size of effects: of the change of the clean answer's probability, points",
    )
    for row in found.rows:
        explained = row.explained_variance
        out.add_row(
            row.name,
            f"{percentage(explained.value)} %",
            f"{row.n_living:,}",
            f"{row.n_tested:,}",
            f"{row.n_selected:,}",
            "-" if row.n_confirmed is None else f"{row.n_confirmed:,}",
            "-" if row.n_confirmed_logprob is None else f"{row.n_confirmed_logprob:,}",
            fixed(row.edit_size, 1),
            percentage(row.median.value, 3),
            interval_text(row.median.low, row.median.high, _thousandths),
            percentage(row.upper.value, 3),
            interval_text(row.upper.low, row.upper.high, _thousandths),
        )
    return out


def against_words(found: DictionaryComparison) -> str:
    """How many features change answers in each dictionary."""
    parts = []
    for row in found.rows:
        n = row.n_selected if row.n_confirmed is None else row.n_confirmed
        parts.append(f"{row.name} {n:,} of {row.n_living:,}")
    confirmed = "" if found.rows[0].n_confirmed is None else " and are confirmed"
    return f"Features that change answers{confirmed}, of those that fire: {', '.join(parts)}."


def _strongest(rows: Sequence[StrongestRow]) -> FittedTable:
    out = table(
        "strongest",
        Column("against", text=True),
        "own",
        Column("interval", rank=2, name="interval of own"),
        "theirs",
        Column("interval", rank=2, name="interval of theirs"),
        Column("own - theirs", rank=1),
        "interval of the difference",
        caption="mean change of accuracy by ablating one of them, points",
    )
    for row in rows:
        out.add_row(
            counted(row.n_strongest, "feature"),
            row.dictionary,
            points(row.own.value),
            interval_text(row.own.low, row.own.high, points),
            points(row.other.value),
            interval_text(row.other.low, row.other.high, points),
            points(row.difference.value),
            interval_text(row.difference.low, row.difference.high, points),
        )
    return out


def strongest_words(found: DictionaryComparison) -> list[str]:
    """For each other dictionary, whether the strongest features here do more than its own."""
    out = []
    for name in dict.fromkeys(row.dictionary for row in found.strongest):
        rows = [row for row in found.strongest if row.dictionary == name]
        more, less = ([row.n_strongest for row in rows if test(row.difference)] for test in (_below, _above))
        parts = []
        if more:
            parts.append(f"this dictionary's cost more accuracy at {_ranks(more)}")
        if less:
            parts.append(f"its own cost more at {_ranks(less)}")
        if rest := [row.n_strongest for row in rows if row.n_strongest not in (*more, *less)]:
            parts.append(f"no difference is shown at {_ranks(rest)}")
        out.append(f"Against {name}: {'; '.join(parts)}.")
    return out


def _below(difference: Estimate) -> bool:
    return difference.high is not None and difference.high < 0


def _above(difference: Estimate) -> bool:
    return difference.low is not None and difference.low > 0


def _ranks(numbers: Sequence[int]) -> str:
    return "the first " + " and ".join(", ".join(map(str, numbers)).rsplit(", ", 1))


def _thousandths(share: float) -> str:
    return percentage(share, 3)


def _coefficient(found: Estimate) -> str:
    if found.low is None or found.high is None:
        known = found.value != 0 and abs(found.value) <= 1
    else:
        # one that its own draws never come near: next to nothing was left to divide by
        known = found.low <= found.value <= found.high
    return fixed(found.value, 2) if known else "-"


def _interval(found: Estimate) -> str:
    return interval_text(found.low, found.high, lambda value: fixed(value, 2))
