"""`codi-int report --features`: all alive features of an SAE as one page, each with an address of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codi_int.cli._console import Report
from codi_int.cli._flips import answer_text, cut
from codi_int.cli._numbers import amount, counted, fixed, nats, p_text, percentage, points
from codi_int.errors import ConfigError, SAEError
from codi_int.report.html.blocks import Cell, FeatureBlock, ReportPage, RunReport, TableBlock, TopExample
from codi_int.report.html.histogram import histogram_svg

if TYPE_CHECKING:
    from codi_int.features.dashboard import FeatureCard
    from codi_int.features.profiles import Profiles
    from codi_int.features.rule_table import RuleComparison
    from codi_int.interventions.screens.screen import Screen

SCREEN = "screen.json"
HEADINGS = (
    *("feature", "fires", "n", "mean", "reads as", "published", "n (published)", "tested", "n (tested)"),
    *("accuracy", "p (family)", "nats", "conclusion", "confirmed"),
)
TEXT = frozenset(map(HEADINGS.index, ("feature", "reads as", "published", "tested", "conclusion", "confirmed")))


def feature_page(source: Path, data: str, limit: int | None, model: str | None, report: Report) -> ReportPage:
    """The dashboard of an SAE, or of the SAE that a kept screen is of.

    Args:
        source: name or folder of an SAE, or folder of a screen, whose effects stand beside the features.
        data: name of the problems.
        limit: how many of them.
        model: name or folder of the model; None for the one that SAE or screen names.
        report: called with (stage, done, total).

    Raises:
        SAEError: no SAE, or one that does not say which model's thoughts it reads.
        DataError: a folder that holds something else than a screen.
        ConfigError: a screen of several sites.
    """
    from codi_int.cli._sites import open_model
    from codi_int.data.problems import load_problems
    from codi_int.features.causal import attach_screen, read_screen
    from codi_int.features.profiles import profile_features
    from codi_int.features.rule_table import compare_rules
    from codi_int.sae.store import load_sae

    screen = read_screen(source) if (source / SCREEN).is_file() else None
    if screen is not None and len(screen.sites) > 1:
        raise ConfigError(
            f"{source} screens {len(screen.sites)} sites, and a dashboard is of one SAE.",
            "Give the SAE of one of them, such as codi-mini/L14.P3.",
        )
    problems = load_problems(data, limit)
    sae = load_sae(str(source) if screen is None else screen.sae)
    name = model or (sae.config.provenance.model if screen is None else screen.model)
    if not name:
        raise SAEError(f"{source} does not say which model's thoughts it reads.", "Give --model.")
    site = None if screen is None else screen.site
    profiles = profile_features(sae, open_model(name, "cpu"), problems, site=site, progress=report, answers=False)
    if screen is not None:
        profiles = attach_screen(profiles, screen)
    rules = compare_rules(profiles) if profiles.has_steps else None
    return page_of_features(profiles, rules, screen)


def page_of_features(
    profiles: "Profiles", rules: "RuleComparison | None" = None, screen: "Screen | None" = None
) -> ReportPage:
    """The page of profiles that are made."""
    from codi_int.features.dashboard import feature_cards

    cards, site = feature_cards(profiles, rules), str(profiles.site)
    model = "no model" if profiles.model is None else profiles.model.name
    dead = profiles.d_sae - len(cards)
    title = f"Features of {profiles.sae.name} at {site} of {model}"
    words = [f"{len(cards):,} of {profiles.d_sae:,} features fire; {dead:,} never fire here."]
    if screen is not None:
        confirmed = sum(bool(card.profile.confirmed) for card in cards)
        words.append(f"{counted(confirmed, 'feature')} confirmed to change accuracy.")
    notes = [*(() if rules is None else rules.tested.notes)]
    if rules is None:
        notes.append("The problems have no written steps, so no rule of specialization applies.")
    if screen is None:
        notes.append("No screen was given, so nothing is said of causes: a feature that fires is not one that matters.")
    addresses = {card.profile.feature: f"{site}/{card.profile.feature}" for card in cards}
    about = RunReport(
        key="features",
        title=title,
        question="What does each feature respond to, what does its direction write, and does the answer need it?",
        conditions=[f"{counted(profiles.n_problems, 'problem')} of {profiles.data}"],
        answers=words,
        blocks=[TableBlock(HEADINGS, [_row(card, addresses) for card in cards], TEXT, caption=CAPTION)],
        notes=notes,
    )
    return ReportPage(title, (about,), features=[_block(card, addresses, i) for i, card in enumerate(cards)])


CAPTION = (
    "n (rule): problems, by the tested rule chains, that the rule looked at. accuracy, nats: change by ablation, from "
    "the screen; where confirmed, on the problems that confirm."
)


def _row(card: "FeatureCard", addresses: dict[int, str]) -> list[Cell]:
    p = card.profile
    rules = [_called(card, name) for name in ("published", "tested")]
    causal = p.causal
    effect = (
        ["-"] * 5
        if causal is None
        else [
            points(causal.accuracy),
            p_text(causal.p_adjusted),
            nats(causal.logprob),
            causal.conclusion or "-",
            _confirmed(causal.confirmed),
        ]
    )
    cells = [f"{percentage(p.firing_rate)} %", f"{p.n_firing:,}", amount(p.mean_activation), " ".join(p.reads_as)]
    words = [*cells, *(cell for pair in rules for cell in pair), *effect]
    return [Cell(str(p.feature), f"#{addresses[p.feature]}"), *map(Cell, words)]


def _called(card: "FeatureCard", rule: str) -> tuple[str, str]:
    row = card.rules.get(rule)
    if row is None:
        return "-", "-"
    return (row.label if row.specialized else row.type), f"{row.n_active:,}"


def _confirmed(confirmed: bool | None) -> str:
    return "not selected" if confirmed is None else "yes" if confirmed else "no"


def _block(card: "FeatureCard", addresses: dict[int, str], number: int) -> FeatureBlock:
    p = card.profile
    tokens = {"promotes": card.promotes, "suppresses": card.suppresses}
    facts = [
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
    near = [
        Cell(f"{one.feature} ({fixed(one.cosine or 0.0, 2)})", _link(addresses, one.feature))
        for one in card.nearest
        if one.feature is not None
    ]
    return FeatureBlock(
        address=addresses[p.feature],
        title=f"feature {p.feature}",
        facts=facts,
        histogram=histogram_svg(card.counts, (amount(card.low), amount(card.high)), f"latent of feature {p.feature}"),
        examples=[
            TopExample(one.problem_id, amount(one.activation), cut(one.question), one.steps, answer_text(one.answer))
            for one in card.top
        ],
        neighbours=near,
    )


def _link(addresses: dict[int, str], feature: int) -> str:
    """Empty for a feature that never fires, which has no place on the page."""
    return f"#{addresses[feature]}" if feature in addresses else ""


def _causal(card: "FeatureCard") -> Sequence[tuple[str, str]]:
    causal = card.profile.causal
    if causal is None:
        return ()
    effect = f"{points(causal.accuracy)} points, {nats(causal.logprob)} nats (p {p_text(causal.p_adjusted)})"
    return [
        ("ablated", f"{effect}, {causal.conclusion or 'not concluded'}, on {causal.screen}"),
        ("confirmed", _confirmed(causal.confirmed)),
    ]
