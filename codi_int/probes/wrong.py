"""Problems that a model gets wrong, with as many right ones of the same length: what error prediction is about."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from codi_int.catalog import CONFIRMATION, STORIES
from codi_int.data.answers import is_right
from codi_int.data.problems import Problems, load_problems, name_of_problems
from codi_int.errors import ConfigError
from codi_int.model.hooked import CodiModel
from codi_int.progress import Progress
from codi_int.types import Problem

MOST_DRAWS = 40
"""sets of fresh stories that are answered before giving up"""


def fresh_stories(limit: int | None = None, kind: str = STORIES) -> Iterator[Problems]:
    """`stories:confirmation/2`, `/3`, ...: the first one stays for what is to be confirmed; `kind` is the data set."""
    for draw in range(2, 2 + MOST_DRAWS):
        yield load_problems(f"{kind}:{CONFIRMATION}/{draw}", limit)


def collect_errors(
    model: CodiModel,
    sets: Iterable[Sequence[Problem]],
    wanted: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Problems, tuple[bool, ...]]:
    """Wrong problems, and right ones with as many steps: length alone must not tell the two apart.

    Args:
        model: who answers.
        sets: problems to answer, set by set, until enough are wrong.
        wanted: how many wrong ones at least.
        seed: of the choice among the right ones.
        progress: called with (stage, done, total) after every set.

    Returns:
        the problems, and whether each is answered rightly.

    Raises:
        ConfigError: where the sets end before enough are wrong.
    """
    wrong: list[Problem] = []
    right: dict[int, list[Problem]] = {}
    names, seen = [], 0
    for problems in sets:
        names.append(name_of_problems(problems, None))
        seen += len(problems)
        for problem, completion in zip(problems, model.answer(problems), strict=True):
            if is_right(completion.answer, problem.answer):
                right.setdefault(len(problem.steps), []).append(problem)
            else:
                wrong.append(problem)
        if progress is not None:
            progress("wrong answers", min(len(wrong), wanted), wanted)
        if len(wrong) >= wanted:
            break
    else:
        raise ConfigError(
            f"{len(wrong):,} of {seen:,} problems are answered wrongly; {wanted:,} are asked for.",
            "Ask for fewer, or give more problems.",
        )
    rng = np.random.default_rng([seed, 3])
    beside: list[Problem] = []
    for n_steps in sorted({len(problem.steps) for problem in wrong}):
        able = right.get(n_steps, [])
        size = min(sum(len(problem.steps) == n_steps for problem in wrong), len(able))
        beside += [able[i] for i in np.sort(rng.choice(len(able), size=size, replace=False))]
    kept = [*((problem, False) for problem in wrong), *((problem, True) for problem in beside)]
    where = names[0] if len(names) == 1 else f"{names[0]} to {names[-1].rpartition(':')[2]}"
    return Problems([problem for problem, _ in kept], f"{where}, wrong and right"), tuple(ok for _, ok in kept)
