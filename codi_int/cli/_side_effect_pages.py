"""What a result's page says of side effects: of the residual and the next thought, and of later thoughts."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from codi_int.cli._fitting import Column, FittedTable, table
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, fixed, interval_text, p_text, percentage, points

if TYPE_CHECKING:
    from codi_int.records import Estimate
    from codi_int.types import LaterEffects, Result, SideEffects

SHOWN = 6
"""features that a page names; the JSON has more"""


def side_effect_lines(found: "SideEffects | None") -> Iterator[Text]:
    """What an edit did besides: how odd a residual it leaves, and what becomes of the next thought."""
    if found is None:
        return
    if (residual := found.residual) is not None:
        ranks = f"(Mahalanobis) {percentage(residual.before)} before, {percentage(residual.after)} after (medians)"
        change, controls = _mean_of(residual.change, points), _controls_of(residual.controls, points)
        share = interval_text(residual.beyond.low, residual.beyond.high, percentage)
        yield Text(
            f"residual: percentile of its distance from real ones {ranks}, mean change {change}{controls}; "
            f"beyond all {residual.n_real:,} real ones: {residual.n_beyond:,} ({share} %)"
        )
    if (thought := found.next_thought) is not None:
        rebuilt = (thought.before_cosine, thought.before_norm) != (1.0, 1.0)
        was = f" (of the reconstruction alone {_cosine(thought.before_cosine)})" if rebuilt else ""
        mean, controls = _mean_of(thought.mean_cosine, _cosine), _controls_of(thought.controls, _cosine)
        norm = f"{fixed(thought.norm, 3)} times as long ({fixed(thought.norm_low, 3)} to {fixed(thought.norm_high, 3)})"
        yield Text(
            f"thought {thought.thought} beside the undisturbed one: cosine {_cosine(thought.cosine)}{was}, a twentieth "
            f"below {_cosine(thought.cosine_low)}, mean {mean}{controls}; {norm}"
        )


def _mean_of(found: "Estimate", show: Any) -> str:
    interval = "" if found.low is None else f" ({interval_text(found.low, found.high, show)})"
    return f"{show(found.value)}{interval}"


def _controls_of(value: float | None, show: Any) -> str:
    return "" if value is None else f", controls {show(value)}"


def _cosine(value: float) -> str:
    return fixed(value, 4)


def family_table(results: "Sequence[Result]") -> Iterator[RenderableType]:
    """The same of several edits, a row each; nothing where none touches a problem."""
    rows = [(one.experiment.label, one.side_effects) for one in results if one.side_effects is not None]
    if not rows:
        return
    out = table(
        "side effects",
        "percentile before",
        "after",
        Column("beyond all real", rank=1),
        "cosine",
        Column("5 % below", rank=2, name="cosine below which 5 % lie"),
        Column("length", rank=1),
        caption="medians over touched problems: Mahalanobis percentile of the residual; the next thought beside the "
        "undisturbed one",
    )
    for label, found in rows:
        residual, thought = found.residual, found.next_thought
        where = ["-"] * 3
        if residual is not None:
            beyond = f"{percentage(residual.beyond.value)} %"
            where = [percentage(residual.before), percentage(residual.after), beyond]
        then = ["-"] * 3
        if thought is not None:
            then = [_cosine(thought.cosine), _cosine(thought.cosine_low), fixed(thought.norm, 3)]
        out.add_row(label, *where, *then)
    yield from ("", out)
    for label, found in rows:
        yield from later_tables(found, f"{label}: ")


def later_tables(found: "SideEffects | None", label: str = "") -> Iterator[RenderableType]:
    """What changes at later thoughts, where that was asked for; `label` says of which of several edits."""
    later = None if found is None else found.later
    if found is None or later is None:
        return
    touched = counted(found.n_touched, "touched problem")
    yield from ("", Text(f"{label}later thoughts on {touched}", style="bold"))
    if later.fires is None or later.turns_on is None or later.turns_off is None:
        yield Text("No SAE of a later position is at hand: features are not looked at.")
    else:
        switched = f"{fixed(later.turns_on, 1)} features are switched on and {fixed(later.turns_off, 1)} off"
        yield Text(f"{switched} on mean, of {fixed(later.fires, 1)} that fire at {counted(later.n_sites, 'site')}")
        if later.controls is not None:
            both = fixed(later.turns_on + later.turns_off, 1)
            features = counted(later.n_controls, "matched random feature")
            yield Text(f"either way {both}, by the same edit of {features} {fixed(later.controls, 1)} (median)")
        if later.features:
            yield from ("", _switched(later))
    if later.results:
        yield from ("", _results(later))


def _switched(later: "LaterEffects") -> FittedTable:
    title = f"switched most, of {later.n_features:,} features that fire"
    out = table(title, "fires before", "on", "off", "share", Column("interval", rank=1))
    for row in later.features[:SHOWN]:
        interval = interval_text(row.share.low, row.share.high, percentage)
        counts = (f"{row.n_before:,}", f"{row.n_on:,}", f"{row.n_off:,}")
        out.add_row(f"{row.feature} at {row.site}", *counts, f"{percentage(row.share.value)} %", interval)
    return out


def _results(later: "LaterEffects") -> FittedTable:
    title = f"result among the lens' top {later.top} of any layer"
    out = table(title, Column("n", rank=2), "before", "after", "change", Column("interval", rank=1), "p (Holm)")
    for row in later.results:
        interval = interval_text(row.change.low, row.change.high, points)
        counts = (f"{row.n:,}", f"{row.n_before:,}", f"{row.n_after:,}")
        label = f"{row.result}, thought {row.thought}"
        out.add_row(label, *counts, points(row.change.value), interval, p_text(row.change.p_adjusted))
    return out
