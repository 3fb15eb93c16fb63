"""Figures of early stopping: how many answers are right after each number of thoughts, and how likely the final one."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codi_int.report.documents import Document
from codi_int.report.style import COLUMN, GREY, MARKERS, PAGE, SERIES, new_figure, styled, write_figure

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

WIDTH = (COLUMN + PAGE) / 2
"""inches: room for a dozen thoughts and a legend beside them"""


def stop_figures(document: Document, out: str | Path) -> list[Path]:
    """Draw a `codi-int/stop@1` document as `stop` (accuracy) and `stop-logprob`.

    Raises:
        OutputError: the folder cannot be written to.
    """
    return [
        *write_figure(stop_figure(document), out, "stop"),
        *write_figure(stop_logprob_figure(document), out, "stop-logprob"),
    ]


@styled
def stop_figure(document: Document) -> "matplotlib.figure.Figure":
    """Share of right answers after each number of thoughts, a line for each number of steps, with 95% intervals."""
    text = f"{_setting(document)} Bands: 95% intervals (Wilson, by calculation)."
    figure = new_figure(WIDTH, 2.9, f"After how many thoughts {document['model']} is right", text)
    axis = figure.subplots()
    for (name, rows), color, marker in _lines(document):
        xs = [row["thoughts"] for row in rows]
        low, high = ([100 * row[end] for row in rows] for end in ("low", "high"))
        axis.fill_between(xs, low, high, color=color, alpha=0.15, linewidth=0)
        axis.plot(xs, [100 * row["accuracy"] for row in rows], color=color, marker=marker, label=name, clip_on=False)
    axis.set_ylim(0, 100)
    axis.set_ylabel("right answers (%)")
    _finish(figure, axis, document)
    return figure


@styled
def stop_logprob_figure(document: Document) -> "matplotlib.figure.Figure":
    """Mean log-probability of the final answer after each number of thoughts, by number of steps."""
    text = (
        f"{_setting(document)} The final answer is the one after {document['n_thoughts']} thoughts. Bands: 95% "
        "intervals (bootstrap-t, by calculation), where enough problems carry the mean."
    )
    figure = new_figure(WIDTH, 2.9, f"How likely the final answer of {document['model']} is", text)
    axis = figure.subplots()
    for (name, rows), color, marker in _lines(document):
        axis.plot([r["thoughts"] for r in rows], [r["logprob"] for r in rows], color=color, marker=marker, label=name)
        for part in _runs_with_interval(rows):
            low, high = ([row[end] for row in part] for end in ("logprob_low", "logprob_high"))
            axis.fill_between([row["thoughts"] for row in part], low, high, color=color, alpha=0.15, linewidth=0)
    axis.set_ylabel("mean log-probability (nats)")
    _finish(figure, axis, document)
    return figure


def _setting(document: Document) -> str:
    return f"{document['n_problems']:,} problems of {document['data']}; <eot> is fed after each number of thoughts."


def _lines(document: Document) -> Iterator[tuple[tuple[str, Sequence[Document]], str, str]]:
    """Name and rows of each line with its colour and marker: the numbers of steps, where they differ, else all."""
    groups: dict[int, list[Document]] = {}
    for row in document["rows"]:
        groups.setdefault(row["steps"], []).append(row)
    named = [(f"{steps} step{'s' * (steps != 1)} (n = {rows[0]['n']:,})", rows) for steps, rows in groups.items()]
    if len(named) < 2:
        named = [(f"all (n = {document['n_problems']:,})", list(document["overall"]))]
    for i, line in enumerate(named):
        yield line, SERIES[i % len(SERIES)], MARKERS[i % len(MARKERS)]


def _runs_with_interval(rows: Sequence[Document]) -> Iterator[list[Document]]:
    """Neighbouring rows that have an interval, together; a band must not bridge one that has none."""
    part: list[Document] = []
    for row in rows:
        if row["logprob_low"] is None:
            yield from ([part] if part else [])
            part = []
        else:
            part.append(row)
    yield from ([part] if part else [])


def _finish(figure: "matplotlib.figure.Figure", axis: "matplotlib.axes.Axes", document: Document) -> None:
    own, most = document["n_thoughts"], document["most"]
    axis.set_xticks(range(most + 1))
    axis.set_xlim(-0.2, most + 0.2)
    axis.set_xlabel("thoughts before the answer")
    if most > own:
        axis.axvline(own, color=GREY, linewidth=0.8, linestyle=(0, (3, 2)), zorder=0)
        axis.annotate(
            "the model's own number",
            (own, 1.0),
            (0, 5),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            color=GREY,
            fontsize=7,
            ha="center",
        )
    figure.legend(loc="outside right center")
