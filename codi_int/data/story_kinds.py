"""The two kinds of stories: those that codi-mini was trained on, and longer ones with larger numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from codi_int.catalog import LONG_STORIES, STORIES
from codi_int.data import wordings as w
from codi_int.errors import DataError
from codi_int.types import Operation

RARE_WEIGHT, COMMON_WEIGHT = 15.0, 0.02
"""weights the other way round, for stories of operands that training hardly ever has"""


@dataclass(frozen=True, eq=False)
class StoryKind:
    """How long stories are and which numbers they have; one of a kind, so compared by identity."""

    name: str
    """the data set's name: `stories:validation` are the stories of the kind `stories`"""
    step_weights: Mapping[int, float]
    """share of stories by number of steps"""
    max_number: int
    """no operand and no result is larger, none is negative"""
    draw_weights: Mapping[Operation, float]
    """weights with which operations are drawn"""
    large_operands: Mapping[int, int] = field(default_factory=dict)
    """operands above 99, per mille; no other number above 99 is drawn, but any may be a result"""
    stream_prefix: str = ""
    """before the name of every stream, so that no story of one kind has another one's seed"""
    even_joins: bool = False
    """two quantities may be put together anywhere in a story, rather than at the end or, of four steps, before it"""

    @property
    def max_steps(self) -> int:
        """Steps of the longest story."""
        return max(self.step_weights)

    @property
    def operands(self) -> tuple[int, ...]:
        """Every number that may be drawn."""
        return (*range(100), *self.large_operands)

    def weights(self, rare: bool = False) -> dict[int, float]:
        """The weight of each operand; `rare` turns common ones and others round."""
        common = {**w.NUMBER_WEIGHTS, **self.large_operands}
        if rare:
            return {n: COMMON_WEIGHT if n in common else RARE_WEIGHT for n in self.operands}
        return {n: float(common.get(n, w.REST_WEIGHT)) for n in self.operands}


SHORT = StoryKind(
    name=STORIES,
    step_weights={1: 0.17, 2: 0.30, 3: 0.30, 4: 0.23},
    max_number=99,
    draw_weights=w.DRAW_WEIGHTS,
)
"""one to four steps, 0 to 99: what codi-mini reads"""
LONG = StoryKind(
    name=LONG_STORIES,
    step_weights={1: 0.08, 2: 0.16, 3: 0.22, 4: 0.22, 5: 0.17, 6: 0.15},
    max_number=999,
    draw_weights=w.LONG_DRAW_WEIGHTS,
    large_operands=w.LARGE_OPERANDS,
    stream_prefix=f"{LONG_STORIES}/",
    even_joins=True,
)
"""one to six steps, 0 to 999"""
KINDS = {kind.name: kind for kind in (SHORT, LONG)}


def story_kind(name: str) -> StoryKind:
    """The kind of stories of this name; DataError where there is none."""
    if name not in KINDS:
        raise DataError(f"There are no stories of the kind {name!r}.", f"Kinds: {', '.join(KINDS)}.")
    return KINDS[name]
