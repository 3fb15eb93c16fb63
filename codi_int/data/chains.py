"""Calculation chains: problems that ask for the same calculations in the same order are one cluster."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codi_int.types import Number, Operation, Problem

SIGNS: dict[Operation, str] = {"addition": "+", "subtraction": "-", "multiplication": "*", "division": "/"}


def chain_of(problem: Problem) -> str | None:
    """The ordered calculations of a problem, such as `20*3, 60+5`; None where it has no written steps."""
    if not problem.steps:
        return None
    return ", ".join(f"{_plain(s.left)}{SIGNS[s.operation]}{_plain(s.right)}" for s in problem.steps)


def cluster_problems(problems: Sequence[Problem]) -> NDArray[np.int64]:
    """Which cluster each problem belongs to: equal chains are one, a problem without steps is its own. [n]

    A model that gets 7 * 8 wrong gets it wrong in every story about it, so such problems are one observation rather
    than several. Clusters are numbered from 0 by the order of their first problems.
    """
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(_name(problem), len(seen)) for problem in problems], dtype=np.int64)


def split_folds(problems: Sequence[Problem]) -> NDArray[np.int64]:
    """Fold 0 or 1 of each problem, by a hash of its chain (else of its id). [n]

    A cluster is never cut, and a problem's fold does not depend on what else is in the data set.
    """
    # SHA-256 and not hash(), which Python salts in every process
    digests = (hashlib.sha256(_name(problem).encode()).digest() for problem in problems)
    return np.array([digest[0] % 2 for digest in digests], dtype=np.int64)


def _name(problem: Problem) -> str:
    # a line break stands in no chain, so no id is ever taken for one
    return chain_of(problem) or f"id\n{problem.id}"


def _plain(number: Number) -> str:
    # 3 and 3.0 are one operand, and repr keeps all digits of any other
    return str(int(number)) if number == int(number) else repr(float(number))
