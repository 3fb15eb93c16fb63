"""The thought lens over a data set as a picture: one panel per result, layers upwards, positions to the right."""

from pathlib import Path
from typing import Any

from codi_int.files import write_bytes
from codi_int.model.lens import LensGroup, LensReport

PANELS_PER_ROW = 4


def draw_lens(report: LensReport, folder: str | Path) -> tuple[Path, Path]:
    """Write `lens.png` and `lens.svg` into `folder`; returns their paths.

    Raises:
        OutputError: the folder cannot be written to.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(PANELS_PER_ROW, len(report.groups))
    rows = -(-len(report.groups) // columns)
    height = 1.1 + 0.22 * report.n_layers
    figure = Figure(figsize=(1.3 + 0.5 * report.n_positions * columns, max(2.6, height) * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    top = max(cell.rate for group in report.groups for cell in group.cells)
    image: Any = None
    for group, axis in zip(report.groups, axes.flat, strict=False):
        image = _panel(axis, group, report, top)
    for axis in axes.flat[len(report.groups) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("layer")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
    what = f"share of problems whose result is\namong the top {report.top} tokens"
    bar.set_label(f"{what}\n(dot: interval lies above chance)")
    figure.suptitle(f"What {report.model}'s thoughts say on {report.data}", fontsize=11)
    return _write(figure, Path(folder))


def _panel(axis: Any, group: LensGroup, report: LensReport, top: float) -> Any:
    """One heatmap; a dot where the interval lies above chance."""
    size = report.n_layers, report.n_positions
    rates = [[group.cells[i * size[1] + p].rate for p in range(size[1])] for i in range(size[0])]
    image = axis.imshow(rates, origin="lower", aspect="auto", cmap="viridis", vmin=0, vmax=max(top, 0.01))
    for cell in group.cells:
        if cell.low > cell.by_chance:
            axis.plot(cell.position, cell.layer, ".", color="white", markersize=3)
    title = "answer" if group.name == "answer" else f"result of {group.name}"
    axis.set_title(f"{title} (n = {group.n:,})", fontsize=9)
    axis.set_xticks(range(size[1]), ["bot", *map(str, range(1, size[1]))])
    axis.set_yticks(range(0, size[0], max(1, size[0] // 8)))
    axis.set_xlabel("thought")
    return image


def _write(figure: Any, folder: Path) -> tuple[Path, Path]:
    from matplotlib import rc_context

    paths = folder / "lens.png", folder / "lens.svg"
    write_bytes(paths[0], lambda file: figure.savefig(file, format="png", dpi=160))
    # without a salt matplotlib names the parts of an SVG at random, and every run would give other bytes
    with rc_context({"svg.hashsalt": "codi-int"}):
        write_bytes(paths[1], lambda file: figure.savefig(file, format="svg", metadata={"Date": None}))
    return paths
