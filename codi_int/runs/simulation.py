"""How long units would take on so many workers: the real scheduler (`Workers`), on a clock that is only counted.

For plans of runs that nobody has the machines for yet: unit seconds are recorded by a smaller run (`workers` in its
manifest), and what one process does by itself, taking results one after the other, is counted too.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from codi_int.runs.workers import Report, Workers
from codi_int.units import Unit


@dataclass
class SimulatedCrew:
    """Workers that need seconds of a counted clock; a unit's task is how many."""

    opening: float
    """seconds until a worker has loaded everything"""
    taking: float = 0.0
    """seconds for which a result keeps the process that collects them"""
    now: float = 0.0
    """the clock"""
    _coming: list[tuple[float, int, str]] = field(default_factory=list)

    def start(self, slot: int) -> None:
        """See `Crew`."""
        heapq.heappush(self._coming, (self.now + self.opening, slot, "ready"))

    def give(self, slot: int, task: Any) -> None:
        """See `Crew`."""
        heapq.heappush(self._coming, (self.now + task, slot, "done"))

    def wait(self) -> Sequence[Report]:
        """See `Crew`."""
        at, slot, kind = heapq.heappop(self._coming)
        # what comes while another result is taken has to wait
        self.now = max(self.now, at) + (self.taking if kind == "done" else 0.0)
        return [Report(slot, "ready" if kind == "ready" else "done")]

    def close(self) -> None:
        """See `Crew`."""


def simulate(seconds: Sequence[float], n: int, opening: float = 0.0, taking: float = 0.0) -> float:
    """Seconds from the start of the first worker to the last result.

    Args:
        seconds: of each unit, in their order.
        n: how many workers.
        opening: seconds until a worker is ready.
        taking: seconds that this process needs for each result.
    """
    crew = SimulatedCrew(opening, taking)
    Workers(crew, n)([Unit(str(i), one) for i, one in enumerate(seconds)], lambda unit, value: None)
    return crew.now
