"""`codi-int report --features`: all features of one or more SAEs as pages, each with an address of its own."""

import heapq
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from codi_int.cli import _feature_rows as rows_of
from codi_int.cli._console import Report
from codi_int.cli._dashboard_sources import Dictionary, Sources
from codi_int.cli._flips import answer_text, cut
from codi_int.cli._numbers import amount, counted, fixed, nats, p_text, percentage, points
from codi_int.data.steps import SIGN_OF
from codi_int.report.html.blocks import (
    Cell,
    FeatureBlock,
    Filter,
    ReportPage,
    RunReport,
    StepText,
    TableBlock,
    TopExample,
)
from codi_int.report.html.histogram import histogram_svg

if TYPE_CHECKING:
    from codi_int.features.dashboard import FeatureCard
    from codi_int.features.details import TopProblem
    from codi_int.features.profiles import Profiles
    from codi_int.features.rule_table import RuleComparison
    from codi_int.types import Problem

INDEX = "features.html"
PER_PAGE = 512
"""features of an SAE, dead ones too, on a page: such a page is a few megabytes, and is there in two seconds"""
STRONGEST = 1_000
"""features that the index of several pages names"""
QUESTION = "What does each feature respond to, what does its direction write, and does the answer need it?"
Strength = tuple[bool, float, float]
"""of an effect: whether there is one, and how large it is"""
STEP = re.compile(r"<<(-?[\d.]+)([-+*/])(-?[\d.]+)=(-?[\d.]+)>>")


@dataclass(frozen=True)
class PagePlace:
    """One page of a dashboard."""

    file: str
    """its name"""
    dictionary: Dictionary
    """the SAE whose features it has"""
    first: int
    """the first of them"""
    last: int
    """the last of them"""

    @property
    def covers(self) -> str:
        """Its addresses, as a link to it says them."""
        return f"{self.dictionary.label}/{self.first}-{self.last}"


@dataclass(frozen=True)
class Found:
    """What an index says of a page."""

    place: PagePlace
    """which page"""
    n_alive: int
    """its features that fire"""
    n_confirmed: int
    """of them confirmed to change accuracy"""
    strongest: "Sequence[tuple[Strength, FeatureCard]]"
    """how strong, and which, the strongest first"""
    rules: bool
    """whether rules of specialization apply"""
    causal: bool
    """whether anything is known of causes"""


def plan_pages(dictionaries: Sequence[Dictionary]) -> list[PagePlace]:
    """The pages of a dashboard: a single one is its own index."""
    out = []
    for one in dictionaries:
        starts = range(0, one.sae.d_sae, PER_PAGE)
        for number, first in enumerate(starts, 1):
            part = f"-{number}" if len(starts) > 1 else ""
            # a name that every file system takes, whatever the folder of an SAE is called
            file = f"features-{re.sub(r'[^A-Za-z0-9._-]', '-', one.label)}{part}.html"
            out.append(PagePlace(file, one, first, min(first + PER_PAGE, one.sae.d_sae) - 1))
    return [PagePlace(INDEX, out[0].dictionary, out[0].first, out[0].last)] if len(out) == 1 else out


def feature_pages(
    sources: Sources, problems: "Sequence[Problem]", report: Report, linked: bool = False
) -> Iterator[tuple[str, ReportPage]]:
    """Name and page of each file of a dashboard, the index last.

    Args:
        sources: SAEs and runs.
        problems: on which problems features are looked at.
        report: called with (stage, done, total).
        linked: whether a report of the runs stands beside it.

    Raises:
        SAEError: a screen of an SAE whose weights have changed, or an SAE of another model.
        DataError: no problems.
    """
    from codi_int.cli._sites import open_model
    from codi_int.features.causal import attach_screen
    from codi_int.features.profiles import profile_dictionaries
    from codi_int.features.rule_table import compare_rules

    model = open_model(sources.model, "cpu")
    by_site: dict[object, list[Dictionary]] = {}
    for one in sources.dictionaries:
        by_site.setdefault(one.site, []).append(one)
    ordered = [one for several in by_site.values() for one in several]
    places, found = plan_pages(ordered), []
    saes = {several[0].site: [one.sae for one in several] for several in by_site.values()}
    for number, (one, profiles) in enumerate(
        zip(ordered, profile_dictionaries(saes, model, problems, report), strict=True)
    ):
        if one.screens:
            profiles = attach_screen(profiles, one.screens[0].found)  # type: ignore[arg-type]
        rules = compare_rules(profiles) if profiles.has_steps else None
        for place in (place for place in places if place.dictionary is one):
            page, summary = page_of_features(profiles, rules, place, len(places) > 1, linked)
            found.append(summary)
            yield place.file, page
        report("pages of features", number + 1, len(ordered))
    if len(places) > 1:
        yield INDEX, index_page(sources, found, counted(len(problems), "problem"), linked)


def page_of_features(
    profiles: "Profiles",
    rules: "RuleComparison | None",
    place: PagePlace,
    several: bool = False,
    linked: bool = False,
) -> tuple[ReportPage, Found]:
    """One page of features, and what the index says of it.

    Args:
        profiles: of the SAE, with what the first screen found.
        rules: what rules of specialization make of them; None where the problems have no steps.
        place: which features.
        several: whether there are other pages.
        linked: whether a report of the runs stands beside it.
    """
    from codi_int.features.dashboard import feature_cards

    one, among = place.dictionary, range(place.first, place.last + 1)
    cards = feature_cards(profiles, rules, among=among)
    causal = any(card.profile.causal is not None for card in cards)
    headings = rows_of.feature_headings(rules is not None, causal)
    alive = {card.profile.feature for card in cards}
    table = [rows_of.feature_row(card, _link(one, card.profile.feature), rules is not None, causal) for card in cards]
    table += [rows_of.dead_row(feature, len(headings)) for feature in among if feature not in alive]
    caption = rows_of.feature_caption(rules is not None, causal)
    text = frozenset(i for i, name in enumerate(headings) if name in rows_of.WORDS)
    block = TableBlock(headings, table, text, caption=caption, filters=rows_of.feature_filters(headings))
    site = rows_of.site_table(one)
    about = RunReport(
        key="features",
        title=_title(profiles, place, several),
        question=QUESTION,
        conditions=[f"{counted(profiles.n_problems, 'problem')} of {profiles.data}", *_screen_words(one)],
        answers=_answers(len(cards), len(among), cards, causal),
        blocks=[block, *([] if site is None else [site])],
        notes=_notes(profiles, rules, causal),
    )
    links = [Cell("all pages", INDEX)] if several else []
    links += [Cell("report of the runs", rows_of.REPORT)] if linked else []
    blocks = _feature_blocks(cards, place, set(profiles.alive), linked)
    strongest = heapq.nlargest(STRONGEST, ((_strength(card), -i) for i, card in enumerate(cards)))
    found = Found(
        place=place,
        n_alive=len(cards),
        n_confirmed=sum(bool(card.profile.confirmed) for card in cards),
        # without what a row does not say: of a whole map there are many
        strongest=[
            (strength, replace(cards[-i], top=(), promotes=(), suppresses=(), nearest=())) for strength, i in strongest
        ],
        rules=rules is not None,
        causal=causal,
    )
    return ReportPage(about.title, (about,), features=blocks, links=links), found


def _strength(card: "FeatureCard") -> Strength:
    """By what ablating it does to accuracy, then to the log-probability; behind them what was not screened, by rate."""
    causal = card.profile.causal
    if causal is None:
        return False, card.profile.firing_rate, 0.0
    return True, abs(causal.accuracy), abs(causal.logprob)


def index_page(sources: Sources, found: Sequence[Found], population: str, linked: bool) -> ReportPage:
    """The pages of a dashboard, and the strongest features of all of them."""
    headings = ("page", "features", "alive", "n confirmed", "strongest")
    rows = []
    for one in found:
        place, first = one.place, one.strongest[0][1].profile.feature if one.strongest else None
        where = place.dictionary.label
        best = Cell("-") if first is None else Cell(str(first), f"{place.file}{_link(place.dictionary, first)}")
        name = Cell(f"{where}", place.file, covers=place.covers)
        numbers = (
            f"{place.first:,} to {place.last:,}",
            f"{one.n_alive:,}",
            f"{one.n_confirmed:,}" if one.causal else "-",
        )
        rows.append([name, *map(Cell, numbers), best])
    rules, causal = any(one.rules for one in found), any(one.causal for one in found)
    named = ("site", *rows_of.feature_headings(rules, causal))
    best_cards = heapq.nlargest(
        STRONGEST,
        ((strength, -n, card, one) for n, one in enumerate(found) for strength, card in one.strongest),
        key=lambda item: item[:2],
    )
    strongest = [
        [Cell(one.place.dictionary.label), *rows_of.feature_row(card, _elsewhere(one.place, card), rules, causal)]
        for _, _, card, one in best_cards
    ]
    labels = tuple(dict.fromkeys(one.place.dictionary.label for one in found))
    # dead ones are on their pages alone
    asked = [one for one in rows_of.feature_filters(named) if one.label != "state"]
    filters = [Filter(0, "site", labels), *asked]
    text = frozenset(i for i, name in enumerate(named) if name in rows_of.WORDS)
    n_alive, n_all = sum(one.n_alive for one in found), sum(one.place.last - one.place.first + 1 for one in found)
    how = "by how often they fire"
    if causal:
        how = f"by what ablating them does to accuracy, then to nats; what was not screened follows {how}"
    n = len(sources.dictionaries)
    title = f"Features of {counted(n, 'SAE')} of {sources.model}"
    about = RunReport(
        key="features",
        title=title,
        question=QUESTION,
        conditions=[population, f"{counted(len(found), 'page')} of at most {PER_PAGE:,} features"],
        answers=[f"{n_alive:,} of {n_all:,} features fire; {n_all - n_alive:,} never fire here."],
        blocks=[
            rows_of.table_of(headings, rows, "strongest: as in the table below"),
            TableBlock(named, strongest, text, caption=f"the {len(strongest):,} strongest, {how}", filters=filters),
        ],
    )
    links = [Cell("report of the runs", rows_of.REPORT)] if linked else []
    return ReportPage(title, (about,), links=links, finds=True)


def _elsewhere(place: PagePlace, card: "FeatureCard") -> str:
    return f"{place.file}{_link(place.dictionary, card.profile.feature)}"


def _title(profiles: "Profiles", place: PagePlace, several: bool) -> str:
    model = "no model" if profiles.model is None else profiles.model.name
    part = f", {place.first:,} to {place.last:,}" if several and place.last - place.first + 1 < profiles.d_sae else ""
    return f"Features{part} of {place.dictionary.name} at {place.dictionary.site} of {model}"


def _screen_words(one: Dictionary) -> list[str]:
    screens = [run.found for run in one.screens]
    return [
        f"screened on {counted(screen.n_problems, 'problem')} of {screen.data}"  # type: ignore[attr-defined]
        for screen in screens[:1]
    ]


def _answers(n_alive: int, n_all: int, cards: "Sequence[FeatureCard]", causal: bool) -> list[str]:
    words = [f"{n_alive:,} of {n_all:,} features fire; {n_all - n_alive:,} never fire here."]
    if causal:
        confirmed = sum(bool(card.profile.confirmed) for card in cards)
        words.append(f"{counted(confirmed, 'feature')} confirmed to change accuracy.")
    return words


def _notes(profiles: "Profiles", rules: "RuleComparison | None", causal: bool) -> list[str]:
    notes = [*(() if rules is None else rules.tested.notes)]
    if rules is None:
        notes.append("The problems have no written steps, so no rule of specialization applies.")
    if not causal:
        notes.append("No screen was given, so nothing is said of causes: a feature that fires is not one that matters.")
    return notes


def _feature_blocks(
    cards: "Sequence[FeatureCard]", place: PagePlace, alive: set[int], linked: bool
) -> list[FeatureBlock]:
    one = place.dictionary
    contexts, seeds = rows_of.context_rows(one), rows_of.seed_rows(one)
    if not linked:
        contexts = {name: [[Cell(row[0].text), *row[1:]] for row in rows] for name, rows in contexts.items()}
    out = []
    for card in cards:
        feature = card.profile.feature
        tables = [
            rows_of.table_of(headings, table[feature], caption)
            for headings, table, caption in (
                (rows_of.CONTEXT, contexts, "in context; accuracy in points, change by the edit"),
                (rows_of.SEEDS, seeds, "under other seeds; changes by ablation, points"),
            )
            if feature in table
        ]
        out.append(_block(card, place, alive, tables))
    return out


def _block(card: "FeatureCard", place: PagePlace, alive: set[int], tables: Sequence[TableBlock]) -> FeatureBlock:
    p = card.profile
    label = f"latent of feature {p.feature}"
    return FeatureBlock(
        address=f"{place.dictionary.label}/{p.feature}",
        title=f"feature {p.feature}",
        facts=_facts(card),
        histogram=histogram_svg(card.counts, (amount(card.low), amount(card.high)), label),
        examples=[_example(card, top) for top in card.top],
        neighbours=[
            Cell(f"{other.feature} ({fixed(other.cosine or 0.0, 2)})", _neighbour(other.feature, place, alive))
            for other in card.nearest
            if other.feature is not None
        ],
        tables=tables,
    )


def _facts(card: "FeatureCard") -> list[tuple[str, str]]:
    p = card.profile
    tokens = {"promotes": card.promotes, "suppresses": card.suppresses}
    return [
        ("fires", f"{percentage(p.firing_rate)} % ({p.n_firing:,} of {counted(p.n_problems, 'problem')})"),
        ("latent where it fires", f"mean {amount(p.mean_signed)}, largest {amount(p.max_signed)}"),
        *(
            (f"its direction {name}", ", ".join(f"{t.text.strip()!r} {percentage(t.probability)} %" for t in found))
            for name, found in tokens.items()
            if found
        ),
        *((f"{rule}, by rule", f"{row.type}: {row.label} (n = {row.n_active:,})") for rule, row in card.rules.items()),
        *_causal(card),
    ]


def _causal(card: "FeatureCard") -> Sequence[tuple[str, str]]:
    causal = card.profile.causal
    if causal is None:
        return ()
    effect = f"{points(causal.accuracy)} points, {nats(causal.logprob)} nats (p {p_text(causal.p_adjusted)})"
    return [
        ("ablated", f"{effect}, {causal.conclusion or 'not concluded'}, on {causal.screen}"),
        ("confirmed", rows_of.confirmed_words(causal.confirmed)),
    ]


def _example(card: "FeatureCard", top: "TopProblem") -> TopExample:
    labels = [row.label for row in card.rules.values() if row.specialized and row.type != "length-specialized"]
    return TopExample(
        problem_id=top.problem_id,
        activation=amount(top.activation),
        question=cut(top.question),
        steps=[StepText(step, is_marked(step, labels)) for step in top.steps],
        answer=answer_text(top.answer),
    )


def is_marked(step: str, labels: Sequence[str]) -> bool:
    """Whether a written step has an operation or a number that some rule calls a feature a specialist of."""
    found = STEP.fullmatch(step)
    if found is None:
        return False
    left, sign, right, result = found.groups()
    numbers = {number for label in labels for number in re.findall(r"number (-?[\d.]+)", label)}
    signs = {SIGN_OF[name] for name in SIGN_OF if any(name in label for label in labels)}
    return sign in signs or bool(numbers & {left, right, result})


def _link(one: Dictionary, feature: int) -> str:
    return f"#{quote(one.label, safe='/.:')}/{feature}"


def _neighbour(feature: int, place: PagePlace, alive: set[int]) -> str:
    """Empty for a feature that never fires, which has no place on any page."""
    if feature not in alive:
        return ""
    here = place.first <= feature <= place.last
    # the index knows on which page another one is
    return ("" if here else INDEX) + _link(place.dictionary, feature)
