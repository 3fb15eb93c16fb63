"""Pages of what features respond to: a ranking, a feature in full."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from codi_int.cli._fitting import Column, FittedTable, Page, table
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, nats, p_text, percentage, points

if TYPE_CHECKING:
    from codi_int.features.details import ActivationGroup, FeatureDetail
    from codi_int.features.profiles import CausalEffect, FeatureProfile, Profiles

TOP = 20
"""rows that a page of a ranking goes on with"""
NOTE = "mean and largest: magnitude of the latent where it fires; sign: of the mean and of the largest latent"
LENS_NOTE = "reads as: the decoder row through final norm and unembedding; nearest: largest cosine of decoder rows"
GROUPS = (
    ("operation", "operation, any step"),
    ("operation of step", "operation of a step"),
    ("pattern", "two steps in a row"),
    ("n_steps", "number of steps"),
    ("value", "number in a step"),
    ("result", "result before the last"),
    ("answer", "answer"),
    ("correct", "the model's answer"),
)
ROWS = 6
"""of a kind of property that a page shows, those that fire most above the base rate"""


def rank_page(found: "Profiles", rows: "Sequence[FeatureProfile]", top: int) -> Page:
    """One row for each feature, and how many are not shown."""
    model = "no model" if found.model is None else found.model.name
    head = Text(f"{len(found):,} of {found.d_sae:,} features alive at {found.site} of {model}", style="bold")
    head.append(f"\n{counted(found.n_problems, 'problem')} of {found.data} · SAE {found.sae.name}", style="not bold")
    if not rows and len(found):
        return Page(head, "", Text(f"None of the ranks asked for: there are 1 to {len(found):,}."))
    out, notes = _ranking([("", rows[:top])])
    return Page(head, "", out, *_below(rows[top:]), "", *(Text(note, style="dim") for note in notes))


def ranks_page(found: "Sequence[Profiles]", rows: "Sequence[Sequence[FeatureProfile]]", top: int) -> Page:
    """Several sites: how many features live at each and how often they fire, then the first rows of each."""
    first = found[0]
    model = "no model" if first.model is None else first.model.name
    alive, size = (sum(counts) for counts in zip(*((len(one), one.d_sae) for one in found), strict=True))
    head = Text(f"{alive:,} of {size:,} features alive at {len(found)} sites of {model}", style="bold")
    head.append(f"\n{counted(first.n_problems, 'problem')} of {first.data}", style="not bold")
    named = [(str(one.site), part[:top]) for one, part in zip(found, rows, strict=True)]
    if not any(part for _, part in named) and alive:
        return Page(head, "", _alive_table(found), "", Text("No site has any of the ranks asked for."))
    out, notes = _ranking(named)
    left = sum(len(part) for part in rows) - sum(len(part) for _, part in named)
    words = f"and {left:,} more; --top {2 * top} shows more of each site, --json has all"
    more = [Text(words, style="dim")] if left else []
    notes = [ALIVE_NOTE, *notes]
    return Page(head, "", _alive_table(found), "", out, *more, "", *(Text(note, style="dim") for note in notes))


ALIVE_NOTE = "firing on: features by the share of problems on which they fire; EV: variance that the SAE explains"


def _alive_table(found: "Sequence[Profiles]") -> FittedTable:
    out = table(
        *("site", "alive"),
        Column("of", rank=2),
        Column("median", rank=1, name="firing rate of the feature in the middle"),
        Column(">10 %", rank=2, name="firing on over 10 %"),
        Column("1-10 %", rank=2, name="firing on 1 to 10 %"),
        Column("<1 %", rank=2, name="firing on less than 1 %"),
        Column("1 problem", rank=3, name="firing on one problem"),
        Column("EV", rank=1),
    )
    for one in found:
        rates = [row.firing_rate for row in one]
        often, seldom = sum(rate > 0.1 for rate in rates), sum(rate < 0.01 for rate in rates)
        explained = one.explained_variance
        out.add_row(
            str(one.site),
            f"{len(one):,}",
            f"{one.d_sae:,}",
            f"{percentage(rates[len(rates) // 2])} %" if rates else "-",
            *(f"{n:,}" for n in (often, len(rates) - often - seldom, seldom, sum(row.n_firing == 1 for row in one))),
            "-" if explained is None else f"{percentage(explained)} %",
        )
    return out


def _ranking(parts: "Sequence[tuple[str, Sequence[FeatureProfile]]]") -> tuple[FittedTable, list[str]]:
    """Rows of each site, which a column names where there are several, and what the columns mean."""
    rows = [row for _, part in parts for row in part]
    screened = any(row.causal is not None for row in rows)
    several = len(parts) > 1
    out = table(
        *(("site",) if several else ()),
        *("rank", "feature", "fires on"),
        Column("problems", rank=3),
        Column("mean", rank=2),
        Column("largest", rank=2),
        Column("sign", rank=6),
        Column("reads as", rank=4, text=True),
        Column("nearest", rank=5),
        *((Column("points", rank=1), Column("p", rank=1), Column("nats", rank=1)) if screened else ()),
    )
    for site, part in parts:
        for one in part:
            out.add_row(*([site] if several else []), *_rank_cells(one, screened))
    return out, [NOTE, LENS_NOTE, *([_screen_note(rows)] if screened else [])]


def _rank_cells(one: "FeatureProfile", screened: bool) -> Iterator[str]:
    near = "" if one.nearest is None else f"{one.nearest} ({one.nearest_cosine:+.2f})"
    yield from (str(one.rank), str(one.feature), f"{percentage(one.firing_rate)} %", f"{one.n_firing:,}")
    yield from (f"{one.mean_activation:#.3g}", f"{one.max_activation:#.3g}")
    yield "".join("0+-"[(value > 0) - (value < 0)] for value in (one.mean_signed, one.max_signed))
    yield from (" ".join(one.reads_as), near)
    if screened:
        yield from _effect_cells(one.causal)


def _effect_cells(effect: "CausalEffect | None") -> tuple[str, str, str]:
    if effect is None:
        return "-", "-", "-"
    mark = "*" if effect.confirmed else ""
    return f"{points(effect.accuracy)}{mark}", p_text(effect.p_adjusted), nats(effect.logprob)


def _screen_note(rows: "Sequence[FeatureProfile]") -> str:
    screens = ", ".join(dict.fromkeys(row.causal.screen for row in rows if row.causal is not None))
    return f"points, p (corrected over the screen), nats: what removing it does, screened on {screens}; * confirmed"


def _below(rest: "Sequence[FeatureProfile]") -> list[RenderableType]:
    """What was left out, and how to see it."""
    if not rest:
        return []
    shown = f"--rank {rest[0].rank}-{min(rest[0].rank + TOP, rest[-1].rank + 1) - 1}"
    return [Text(f"and {len(rest):,} more; {shown} shows the next, --json has all", style="dim")]


def detail_pages(found: "Sequence[FeatureDetail]") -> Page:
    """Several features, one below the other."""
    parts: list[RenderableType] = []
    for one in found:
        parts += [*([""] if parts else []), detail_page(one)]
    return Page(*parts)


def detail_page(found: "FeatureDetail") -> Page:
    """One feature in full."""
    profile = found.profile
    head = Text(f"feature {profile.feature} at {found.site} of {found.model or 'no model'}", style="bold")
    head.append(f"\n{counted(profile.n_problems, 'problem')} of {found.data} · SAE {found.sae}", style="not bold")
    parts: list[RenderableType] = [head, ""]
    if profile.n_firing:
        parts.append(
            Text(
                f"fires on {profile.n_firing:,} problems ({percentage(profile.firing_rate)} %), rank {profile.rank:,}; "
                f"mean {profile.mean_signed:+#.3g}, strongest {profile.max_signed:+#.3g}"
            )
        )
    if found.promotes:
        parts.append(Text("decoder row reads as " + _words(found.promotes)))
        parts.append(Text("turned round " + _words(found.suppresses)))
    if (known := [near for near in found.nearest if near.feature is not None]) and known[0].cosine is not None:
        parts.append(Text("nearest rows " + ", ".join(f"{near.feature} ({near.cosine:+.2f})" for near in known)))
    if profile.causal is not None:
        parts.append(Text(_causal_words(profile.causal)))
    if found.top:
        parts += ["", _top_table(found)]
    for kind, heading in GROUPS:
        if rows := _shown([group for group in found.groups if group.kind == kind], kind):
            parts += ["", _group_table(heading, rows)]
    if found.missing:
        parts += [] if parts[-1] == "" else [""]
        parts += [Text(words[0].upper() + words[1:], style="dim") for words in found.missing]
    return Page(*parts)


def _words(tokens: "Sequence[object]") -> str:
    return ", ".join(f"{t.text.strip()!r} {percentage(t.probability)} %" for t in tokens)  # type: ignore[attr-defined]


def _causal_words(effect: "CausalEffect") -> str:
    found = {True: "confirmed", False: "not confirmed", None: "not selected"}[effect.confirmed]
    return (
        f"removed: {points(effect.accuracy)} points (p {p_text(effect.p_adjusted)} over the screen, {found}), "
        f"{nats(effect.logprob)} nats; {effect.conclusion or 'no conclusion'} on {effect.screen}"
    )


def _top_table(found: "FeatureDetail") -> FittedTable:
    out = table("strongest on", "latent", Column("answered", rank=2), Column("steps", rank=1, text=True))
    answered = {True: "right", False: "wrong", None: "-"}
    for one in found.top:
        steps = " ".join(one.steps) or "-"
        out.add_row(one.problem_id, f"{one.activation:+#.3g}", answered[one.correct], steps)
    return out


def _shown(groups: "list[ActivationGroup]", kind: str) -> "list[ActivationGroup]":
    """All operations and step counts; of numbers and patterns those on which it fires most often for how many there
    are."""
    if kind in ("operation", "n_steps", "correct"):
        return groups
    return sorted((one for one in groups if one.n_firing), key=lambda one: -one.firing_rate)[:ROWS]


def _group_table(heading: str, groups: "Sequence[ActivationGroup]") -> FittedTable:
    out = table(
        heading,
        "fires on",
        Column("of", rank=1),
        Column("share", rank=0),
        Column("interval", rank=2),
        Column("of firing", rank=3),
        Column("of all", rank=3),
        Column("mean latent", rank=4),
    )
    for one in groups:
        out.add_row(*_group_cells(one))
    return out


def _group_cells(one: "ActivationGroup") -> Iterator[str]:
    yield one.name
    yield f"{one.n_firing:,}"
    yield f"{one.n:,}"
    yield f"{percentage(one.firing_rate)} %"
    yield f"{percentage(one.low)} to {percentage(one.high)}"
    yield "-" if one.share_of_firing is None else f"{percentage(one.share_of_firing)} %"
    yield f"{percentage(one.base_rate)} %"
    yield "-" if one.mean_activation is None else f"{one.mean_activation:+#.3g}"


def export_page(document: Mapping[str, Any]) -> Page:
    """What was written for Neuronpedia, and under which names it would stand there."""
    features = counted(document["n_features"], "feature")
    head = Text(f"{features} of {document['sae']} as Neuronpedia's client uploads them", style="bold")
    head.append(f"\n{counted(document['n_problems'], 'problem')} of {document['data']}", style="not bold")
    batches = counted(len(document["files"]), "batch", "batches")
    return Page(
        head,
        "",
        Text(f"model {document['model_id']}, source {document['source_id']}: {batches}"),
        Text(f"{counted(document['n_with_effect'], 'feature')} with the effect of ablating it"),
    )
