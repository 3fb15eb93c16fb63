"""Pages of specialists: three rules side by side, and swap pairs with their power."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType

from codi_int.cli._fitting import Column, FittedTable, Page, table
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, fixed, p_text, percentage

if TYPE_CHECKING:
    from codi_int.features.pairs import SwapPair, SwapPairs
    from codi_int.features.rule_table import RuleCell, RuleComparison
    from codi_int.features.site_rules import RulesBySite
    from codi_int.features.specialization_records import Specialization, SpecializationRow


def specialize_page(found: "RuleComparison", top: int) -> Page:
    """The table of the three rules, then the tested rule's specialists."""
    tested = found.tested
    alive = len(tested.rows)
    head = Text(f"specialists among {alive:,} alive features at {tested.site} of {tested.model}", style="bold")
    head.append(
        f"\n{counted(tested.n_problems, 'problem')} of {tested.data}, {tested.n_chains:,} different calculations · "
        f"SAE {tested.sae}",
        style="not bold",
    )
    parts: list[RenderableType] = [head, "", _cells(found.cells), "", Text(_family(tested))]
    strong = [row for row in tested.rows if row.specialized]
    if top and strong:
        parts += ["", _specialists([(tested, row) for row in strong[:top]])]
        if len(strong) > top:
            words = f"and {len(strong) - top:,} more; --top {len(strong)} shows them, --json has all"
            parts.append(Text(words, style="dim"))
    return Page(*parts, "", *(Text(words, style="dim") for words in (*_notes(tested), *tested.notes)))


def site_rules_page(found: "RulesBySite", top: int) -> Page:
    """What each rule makes of every site's features, then the surest specialists of the tested rule."""
    tested, alive = found.first, sum(len(one.tested.rows) for one in found.sites)
    head = Text(
        f"specialists among {alive:,} alive features at {len(found.sites)} sites of {tested.model}", style="bold"
    )
    head.append(
        f"\n{counted(tested.n_problems, 'problem')} of {tested.data}, {tested.n_chains:,} different calculations",
        style="not bold",
    )
    counts = (found.total("n_selected"), found.total("n_confirmed"))
    family = _family_words(tested, found.total("n_tested"), *counts, f"over {len(found.sites)} sites as one family")
    parts: list[RenderableType] = [head, "", _site_cells(found), "", Text(family)]
    strong = [(one.tested, row) for one in found.sites for row in one.tested.rows if row.specialized]
    strong.sort(key=lambda pair: (pair[1].confirmed[0].confirmation.p_adjusted, -pair[1].n_firing))
    if top and strong:
        parts += ["", _specialists(strong[:top], several=True)]
        if len(strong) > top:
            words = f"and {len(strong) - top:,} more, the surest first; --top shows them, --json has all"
            parts.append(Text(words, style="dim"))
    notes = dict.fromkeys((*_notes(tested), *(note for one in found.sites for note in one.tested.notes)))
    return Page(*parts, "", *(Text(words, style="dim") for words in notes))


def _site_cells(found: "RulesBySite") -> FittedTable:
    low, high = found.band
    band = f"firing on {percentage(low, 0)} to {percentage(high, 0)} %"
    out = table(
        *("site", "alive"),
        Column("published", rank=0),
        Column("on 1", rank=4, name="of them on one problem"),
        Column("ties", rank=1, name="ties counted"),
        Column("tested", rank=0),
        Column("strong", rank=4),
        Column("common", rank=2, name=f"features {band}"),
        Column("publ.", rank=3, name=f"published, {band}"),
        Column("ties", rank=3, name=f"ties counted, {band}"),
        Column("tested", rank=2, name=f"tested, {band}"),
    )
    for one in found.sites:
        published, ties, tested, *common = one.cells
        out.add_row(
            str(one.tested.site),
            f"{published.n:,}",
            *(_hits(published), f"{published.n_single:,}", _hits(ties), _hits(tested), f"{tested.n_strong or 0:,}"),
            f"{common[0].n:,}",
            *(_hits(cell) for cell in common),
        )
    return out


def _hits(cell: "RuleCell") -> str:
    return "-" if cell.share is None else f"{cell.n_specialized:,} ({percentage(cell.share, 0)} %)"


def _cells(cells: "tuple[RuleCell, ...]") -> FittedTable:
    out = table(
        *("rule", "features"),
        Column("specialized", rank=0),
        Column("share", rank=0),
        Column("interval", rank=3),
        Column("operation", rank=4),
        Column("value", rank=4),
        Column("both", rank=4),
        Column("length", rank=4),
        Column("on 1 problem", rank=1),
        Column("tested too", rank=1),
        Column("strong", rank=2),
        Column("untested", rank=5),
    )
    population = ""
    for cell in cells:
        if cell.population != population:
            population = cell.population
            words = "all alive" if population == "alive" else f"firing rate {population}"
            out.add_row(words, *[""] * 12, style="dim")
        out.add_row(
            cell.rule,
            f"{cell.n:,}",
            f"{cell.n_specialized:,}",
            "-" if cell.share is None else f"{percentage(cell.share)} %",
            "-" if cell.low is None or cell.high is None else f"{percentage(cell.low)} to {percentage(cell.high)}",
            *(f"{n:,}" for n in (cell.n_operation, cell.n_value, cell.n_highly, cell.n_length)),
            f"{cell.n_single:,}",
            f"{cell.n_also_tested:,}",
            "-" if cell.n_strong is None else f"{cell.n_strong:,}",
            f"{cell.n_untested:,}" if cell.rule == "tested" else "-",
        )
    return out


def _family(tested: "Specialization") -> str:
    counts = (tested.n_tested or 0, tested.n_selected or 0, tested.n_confirmed or 0)
    return _family_words(tested, *counts, f"({tested.n_properties or 0:,} properties)")


def _family_words(tested: "Specialization", n_tested: int, n_selected: int, n_confirmed: int, which: str) -> str:
    on = tested.confirmed_on or ""
    where = "the other fold" if on == "folds" else f"{tested.n_confirming or 0:,} problems of {on}"
    return (
        f"tested: {n_tested:,} pairs of feature and property {which}, "
        f"{n_selected:,} selected, {n_confirmed:,} confirmed on {where}"
    )


def _specialists(rows: "list[tuple[Specialization, SpecializationRow]]", several: bool = False) -> FittedTable:
    out = table(
        *(("site",) if several else ()),
        *("feature", "fires on"),
        Column("by", text=True),
        Column("share", name="share given firing"),
        Column("base", rank=1, name="base rate"),
        Column("points", rank=0, name="points above it"),
        Column("interval", rank=2),
        Column("p (Holm)", rank=3),
        Column("n", rank=1, name="chains that confirm and fire"),
    )
    for tested, row in rows:
        first = row.confirmed[0]
        again = first.confirmation
        low, high = again.low, again.high
        out.add_row(
            *([str(tested.site)] if several else []),
            str(row.feature),
            f"{row.n_firing:,}",
            first.name if first.kind != "value" else f"number {first.name}",
            f"{percentage(again.share)} %",
            f"{percentage(again.base_rate)} %",
            fixed(100 * again.difference, 1, "+") + ("*" if first.strong else ""),
            "-" if low is None or high is None else f"{fixed(100 * low, 1, '+')} to {fixed(100 * high, 1, '+')}",
            p_text(again.p_adjusted),
            f"{again.n_firing:,}",
        )
    return out


def _notes(tested: "Specialization") -> tuple[str, ...]:
    plan = tested.plan
    assert plan is not None
    return (
        "published: the rule and its habits, ties dropped, numbers by substring, of at most 100 problems; tested: "
        f"exact, units are calculations, selected at a false discovery rate of {percentage(plan.alpha, 0)} % over all "
        "features and properties, confirmed on other problems (Holm) given the number of steps.",
        f"strong (*): at least {percentage(plan.margin, 0)} points above the base rate where it is confirmed; "
        f"untested: fires on fewer than {plan.least_firing} calculations. Shares and points: of what confirms.",
    )


def pairs_page(found: "Sequence[SwapPairs]", top: int) -> Page:
    """The pairs by each rule, with the power of a swap."""
    first = found[0]
    head = Text(f"pairs of specialists to swap at {first.site} of {first.model}", style="bold")
    head.append(f"\n{counted(first.n_problems, 'problem')} of {first.data} · SAE {first.sae}", style="not bold")
    parts: list[RenderableType] = [head]
    for one in found:
        with_power = sum(row.has_power for row in one.rows)
        words = f"{one.rule}: {counted(one.n_pairs, 'pair')}"
        if one.rows:
            kept = f"of the {len(one.rows):,} kept " if one.n_pairs > len(one.rows) else ""
            words += f", {kept}{with_power:,} with power"
        parts += ["", Text(words)]
        if one.rows:
            parts.append(_pair_table(one.rows[:top]))
    if first.rows and first.site is not None:
        parts += ["", Text(f"with what --out keeps: codi-int swap --pairs FOLDER --layer {first.site.layer}")]
    return Page(*parts, "", Text(PAIRS_NOTE, style="dim"))


PAIRS_NOTE = (
    "should: what exchanging the two features claims to do; fires: problems on which each fires; tells: touched "
    "problems whose predicted answer is not the true one; needs: such problems to find 10 % predicted answers, where "
    "1 % come by chance, with 80 % power; problems: how many of this kind that takes"
)


def _pair_table(rows: "Sequence[SwapPair]") -> FittedTable:
    out = table(
        "features",
        Column("should", text=True),
        Column("fires", rank=2),
        Column("both fire", rank=3),
        "tells",
        "needs",
        "power",
        Column("problems", rank=1),
    )
    for row in rows:
        out.add_row(
            f"{row.feature}, {row.other}",
            row.claim.replace(":", " : "),
            f"{row.n_firing:,}, {row.n_firing_other:,}",
            f"{row.n_both:,}",
            f"{row.n_informative:,}",
            f"{row.n_needed:,}",
            f"{percentage(row.power, 0)} %",
            "-" if row.problems_needed is None else f"{row.problems_needed:,}",
        )
    return out
