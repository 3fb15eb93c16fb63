"""A small histogram as inline SVG: twenty bars cost half a kilobyte, where a figure of matplotlib costs twenty."""

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, LINE = 240, 60, 14
"""of the bars, and of the line of numbers below them; pixels"""


def histogram_svg(counts: Sequence[int], ends: tuple[str, str], label: str) -> str:
    """The bars with both ends of their axis below.

    Args:
        counts: of each bin.
        ends: the lower end of the first bin and the upper one of the last, as they are written.
        label: what a screen reader says.
    """
    most, step = max(counts, default=0) or 1, WIDTH / max(len(counts), 1)
    bars = "".join(
        # not below a pixel: a single problem in a bin is to be seen
        f'<rect x="{i * step:.0f}" y="{HEIGHT - height:.0f}" width="{step - 1:.0f}" height="{height:.0f}"/>'
        for i, count in enumerate(counts)
        if (height := max(HEIGHT * count / most, 1.0 if count else 0.0))
    )
    low, high = map(escape, ends)
    words = f'<text x="0" y="{HEIGHT + LINE - 2}">{low}</text>'
    words += f'<text x="{WIDTH}" y="{HEIGHT + LINE - 2}" text-anchor="end">{high}</text>'
    said = escape(f"{label}: {sum(counts):,} problems from {ends[0]} to {ends[1]}, at most {most:,} in a bar")
    size = f'width="{WIDTH}" height="{HEIGHT + LINE}" viewBox="0 0 {WIDTH} {HEIGHT + LINE}"'
    return f'<svg role="img" aria-label="{said}" {size} fill="currentColor" font-size="11">{bars}{words}</svg>'
