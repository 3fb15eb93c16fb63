"""Which problem is the source of which target: pairs from a file, or found by what a step of theirs results in."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from codi_int.data.answers import is_right
from codi_int.data.reexecution import NumberRange, number_range
from codi_int.errors import ConfigError, DataError
from codi_int.files import read_csv, read_json_lines
from codi_int.interventions.patching.predictions import patched_prediction
from codi_int.types import Problem

Kind = Literal["same", "different"]
KINDS: tuple[Kind, ...] = ("same", "different")
TRIES = 20
"""sources that are looked at for one target and one way of matching"""

# The closer target and source are, the less else moves with the value: most of the thought is then the same.
MATCHES: tuple[tuple[str, Callable[[Problem, int], tuple[object, ...]]], ...] = (
    ("the same operations in the same order", lambda p, i: tuple(step.operation for step in p.steps)),
    ("as many steps and the same operation in this one", lambda p, i: (len(p.steps), p.steps[i].operation)),
    ("the same operation in this step", lambda p, i: (p.steps[i].operation,)),
)
"""what a source has in common with its target, the strictest first"""


@dataclass(frozen=True)
class Pairing:
    """Sources for the problems of a run."""

    sources: tuple[int, ...]
    """for each problem the row of its source, or -1 where it has none"""
    origin: str
    """where the pairs come from, in words"""
    matched: Mapping[str, int]
    """what target and source have in common -> pairs; empty for pairs from a file"""

    @property
    def n_pairs(self) -> int:
        """Problems that have a source."""
        return sum(source >= 0 for source in self.sources)


def read_pairs(path: str | Path, problems: Sequence[Problem]) -> Pairing:
    """Pairs from a `.jsonl` or `.csv` file with the columns `target` and `source`, which hold ids of problems.

    Raises:
        DataError: for a file that cannot be read, an id that no problem has, a problem paired with itself, or a target
            that stands twice; the message names the line.
    """
    path = Path(path)
    # ids and not line numbers: a file of pairs stays right when problems are filtered or limited
    rows = {problem.id: row for row, problem in enumerate(problems)}
    sources, seen = [-1] * len(problems), dict[str, int]()
    for line, target, source in _read(path):
        where = f"{path}, line {line}"
        for name in (target, source):
            if name not in rows:
                raise DataError(
                    f"{where}: no problem has the id {name!r}; ids look like {problems[0].id!r}.",
                    "Take ids of the problems of this run; --limit leaves out the later ones.",
                )
        if target == source:
            raise DataError(f"{where}: {target!r} is paired with itself.", "Name another problem as its source.")
        # as a source a problem may stand many times; as a target it is run once
        if target in seen:
            raise DataError(
                f"{where}: the target {target!r} stands in line {seen[target]} already.", "Give a target one source."
            )
        seen[target] = line
        sources[rows[target]] = rows[source]
    if not seen:
        raise DataError(f"{path} holds no pairs.", 'A line is {"target": "id", "source": "id"}.')
    return Pairing(tuple(sources), f"pairs of {path}", {})


def find_pairs(
    problems: Sequence[Problem], kind: str, step: int, seed: int = 0, shared_operands: bool = False
) -> Pairing:
    """A seeded source for every problem that has one: its result of a step is the same, or another one.

    A source of the same result has other operands in that step: 3 * 20 from another 3 * 20 would exchange nothing, and
    an answer that stays would say nothing of where the result is.

    A source of another result is taken only where the target's predicted answer differs from its true one. Of both
    kinds those are taken first that can tell a computed answer from a copied one: their own answer is neither the
    target's nor the predicted one. Among these the best match is taken, in the order of `MATCHES`. No answer of a model
    is looked at.

    Args:
        problems: of the run.
        kind: `same` or `different`.
        step: which step's result, counted from 1.
        seed: of the choice.
        shared_operands: let sources of the same result have operands of the target's step.

    Raises:
        ConfigError: for a step or kind that does not exist, or where no problem has a source.
    """
    if kind not in KINDS:
        raise ConfigError(f"Pairs of the kind {kind!r} do not exist.", f"Kinds: {', '.join(KINDS)}.")
    # problems in which the step exists; `step >= 1` also catches a step of 0, which would count from the end
    able = [row for row, problem in enumerate(problems) if len(problem.steps) >= step >= 1]
    if not able:
        most = max((len(problem.steps) for problem in problems), default=0)
        raise ConfigError(f"No problem has a step {step}; the longest has {most}.", "Steps are counted from 1.")
    # one generator through all targets in their order: one seed, one set of pairs
    search = _Search(
        problems,
        able,
        same=kind == "same",
        step=step,
        generator=np.random.default_rng(seed),
        shared_operands=shared_operands,
    )
    sources, matched = [-1] * len(problems), Counter[str]()
    for row in able:
        source, match = search.source_of(row)
        sources[row] = source
        if source >= 0:
            matched[match] += 1
    if not matched:
        raise ConfigError(
            f"No two problems have {'the same result' if kind == 'same' else 'results'} in step {step} that can be "
            f"exchanged.",
            "Take more problems, or another step.",
        )
    origin = f"pairs with {'the same result' if kind == 'same' else 'different results'} in step {step}"
    return Pairing(tuple(sources), origin, dict(matched.most_common()))


class _Search:
    """Looks for sources; holds problems grouped by everything that a match asks for."""

    def __init__(
        self,
        problems: Sequence[Problem],
        able: Sequence[int],
        same: bool,
        step: int,
        generator: np.random.Generator,
        shared_operands: bool,
    ) -> None:
        self._problems, self._same, self._step, self._generator = problems, same, step, generator
        self._shared_operands = shared_operands
        # of all problems of the run, not only of those able: the range says what a model of these data may write
        self._numbers: NumberRange = number_range(problems)
        self._groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
        # Every row stands in one group for each way of matching, so finding a source costs a look at its group and not
        # at all problems: n * TRIES instead of n * n.
        for row in able:
            for key in self._keys(problems[row]):
                self._groups[key].append(row)

    def source_of(self, target: int) -> tuple[int, str]:
        """(row of the source, what it has in common with the target); (-1, "") where there is none."""
        # A pair of worth 2 is taken from whichever way of matching has one first, strictest first; failing that, the
        # first of worth 1, which is one of the strictest kind that has any.
        second = (-1, "")
        for key in self._keys(self._problems[target]):
            # a key begins with its level, which is its place in MATCHES
            group, name = self._groups[key], MATCHES[int(str(key[0]))][0]
            # drawn without replacement, and cut after TRIES: a group of thousands must not be searched whole
            order = self._generator.permutation(len(group))[:TRIES]
            for source in (group[i] for i in order):
                worth = self._worth(target, source)
                if worth == 2:
                    return source, name
                if worth == 1 and second[0] < 0:
                    second = (source, name)
        return second

    def _keys(self, problem: Problem) -> Iterator[tuple[object, ...]]:
        index = self._step - 1
        for level, (_, key) in enumerate(MATCHES):
            # For `same` the result is part of the key, so that a group holds it already; for `different` `_worth`
            # compares.
            result = (problem.steps[index].result,) if self._same else ()
            # the level keeps apart the groups of two ways of matching whose keys look alike
            yield (level, *result, *key(problem, index))

    def _worth(self, target: int, source: int) -> int:
        """0: no pair; 1: a pair; 2: a pair in which a copied answer is not the one that is expected."""
        mine, theirs = self._problems[target], self._problems[source]
        # each problem stands in its own groups
        if mine.id == theirs.id:
            return 0
        if self._same:
            if not self._shared_operands and _operands(mine, self._step) & _operands(theirs, self._step):
                return 0
            # The same value: the answer should stay. If the source's own answer is that very number, copying the source
            # and computing with its value cannot be told apart.
            return 1 if is_right(theirs.answer, mine.answer) else 2
        # a pair whose predicted answer is the true one shows nothing: it would look the same if the patch did nothing
        prediction = patched_prediction(mine, theirs, self._step, self._numbers)
        if not prediction.informative or prediction.answer is None:
            return 0
        return 1 if is_right(theirs.answer, prediction.answer) else 2


def _operands(problem: Problem, step: int) -> set[float]:
    """What a step calculates with."""
    return {float(problem.steps[step - 1].left), float(problem.steps[step - 1].right)}


def third_value_sources(
    problems: Sequence[Problem], sources: Sequence[int], step: int, draws: int, seed: int = 0
) -> tuple[tuple[int, ...], ...]:
    """Other sources for the same targets, as like them as the real ones are, with a third value: controls of a patch.

    A control comes from the match class (see `MATCHES`) of target and source; where nobody there has a third result of
    the step, from the next wider one, and from all problems with such a result in the end. Random problems would also
    differ in everything that sources share with their targets, and be beaten for that.

    Args:
        problems: of the run, with steps.
        sources: for each problem the row of its source, or -1.
        step: whose result is exchanged, from 1.
        draws: how many sets.
        seed: of the draw.

    Raises:
        ConfigError: where a target has no third problem at all.
    """
    generator, thirds = np.random.default_rng(seed), _Thirds(problems, step - 1)
    pools: list[NDArray[np.int64]] = []
    for row, source in enumerate(sources):
        pools.append(np.empty(0, dtype=np.int64) if source < 0 else thirds.of(row, source))
        if draws and source >= 0 and not pools[-1].size:
            raise ConfigError(
                f"No problem has a third result of step {step} beside those of {problems[row].id!r} and its source.",
                "Take more problems, or --controls 0.",
            )
    return tuple(tuple(int(generator.choice(pool)) if pool.size else -1 for pool in pools) for _ in range(draws))


class _Thirds:
    """Problems with another result of a step than two others have, by match class."""

    def __init__(self, problems: Sequence[Problem], index: int) -> None:
        self._problems, self._index = problems, index
        self._able = np.array([row for row, p in enumerate(problems) if len(p.steps) > index], dtype=np.int64)
        self._results = np.full(len(problems), np.nan)
        self._results[self._able] = [float(problems[row].steps[index].result) for row in self._able.tolist()]
        self._groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for row in self._able.tolist():
            for key in self._keys(row):
                self._groups[key].append(row)

    def of(self, target: int, source: int) -> NDArray[np.int64]:
        """Those of the strictest class that both are in and that has any; else all."""
        ends = (target, source)
        if all(len(self._problems[row].steps) > self._index for row in ends):
            for mine, theirs in zip(self._keys(target), self._keys(source), strict=True):
                alike = np.array(self._groups[mine], dtype=np.int64)
                if mine == theirs and (found := self._third(alike, ends)).size:
                    return found
        return self._third(self._able, ends)

    def _keys(self, row: int) -> list[tuple[object, ...]]:
        # the level keeps apart the groups of two ways of matching whose keys look alike
        return [(level, *key(self._problems[row], self._index)) for level, (_, key) in enumerate(MATCHES)]

    def _third(self, rows: NDArray[np.int64], ends: tuple[int, int]) -> NDArray[np.int64]:
        kept = ~np.isin(rows, ends)
        for end in ends:
            # relative, as an answer is right; an end without the step has no result, which nothing equals
            kept &= ~np.isclose(self._results[rows], self._results[end], rtol=1e-6, atol=0.0)
        return rows[kept]


def random_sources(sources: Sequence[int], draws: int, seed: int = 0) -> tuple[tuple[int, ...], ...]:
    """Other sources for the same targets, drawn at random from all problems of the run: the controls of a patch.

    A target never gets itself and never the source that it has in `sources`.

    Args:
        sources: for each problem the row of its source, or -1.
        draws: how many sets.
        seed: of the draw.

    Raises:
        ConfigError: for a run of fewer than three problems, which have no other.
    """
    n, generator = len(sources), np.random.default_rng(seed)
    if draws and n < 3:
        raise ConfigError(f"Control patches take a third problem; this run has {n}.", "0 runs without controls.")
    return tuple(tuple(_draw_other(row, own, n, generator) for row, own in enumerate(sources)) for _ in range(draws))


def _draw_other(row: int, own: int, n: int, generator: np.random.Generator) -> int:
    """A row that is neither of two."""
    if own < 0:
        return -1
    # Uniform over the other n - 2 rows without trying again: draw from 0 to n - 3 and step over the two taken rows, the
    # smaller one first, or the second step could land on the first.
    drawn = int(generator.integers(n - 2))
    for taken in sorted((row, own)):
        drawn += drawn >= taken
    return drawn


def _read(path: Path) -> Iterator[tuple[int, str, str]]:
    """(line, target, source) of every line."""
    remedy = "Give a .jsonl or .csv file with 'target' and 'source' in each line."
    rows = read_csv(path, remedy=remedy) if path.suffix == ".csv" else read_json_lines(path, remedy=remedy)
    for line, row in rows:
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {line}: an object is wanted, not {type(row).__name__}.", remedy)
        ends = (row.get("target"), row.get("source"))
        if not all(isinstance(end, str | int) and str(end).strip() for end in ends):
            # line breaks and control characters of a damaged file are shown, not sent
            names = [str(name).encode("unicode_escape").decode() for name in row]
            raise DataError(
                f"{path}, line {line}: 'target' and 'source' are wanted, got {', '.join(names) or 'nothing'}.",
                "Both columns hold ids of problems.",
            )
        yield line, str(ends[0]).strip(), str(ends[1]).strip()
