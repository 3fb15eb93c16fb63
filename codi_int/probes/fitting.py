"""One probe fitted and tested: outer folds that share no calculation, a penalty chosen inside each of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from codi_int.probes.ridge import PENALTIES, Array, LinearProbe, Ridge

Method = Literal["ridge", "logistic"]
METHODS: tuple[Method, ...] = ("ridge", "logistic")
INNER = 3
"""folds of the choice of a penalty"""
LOGISTIC_PENALTIES = 10.0 ** np.arange(-2.0, 4.0, 1.5)
"""1 / C on rows of unit variance; each takes an iterative fit"""


@dataclass(frozen=True)
class Split:
    """One outer fold."""

    train: NDArray[np.int64]
    """places of rows to fit. [m]"""
    test: NDArray[np.int64]
    """places of the others. [n - m]"""
    inner: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]
    """the same twice again inside `train`, as places among its rows"""


@dataclass(frozen=True)
class Outputs:
    """Labels as a probe fits them."""

    values: Array
    """the number, or the place of the class. [n]"""
    n_classes: int
    """0 for numbers"""

    @property
    def columns(self) -> Array:
        """A column for each class, or the number. [n, outputs]"""
        if not self.n_classes:
            return self.values[:, None]
        return np.asarray(self.values[:, None] == np.arange(self.n_classes), dtype=np.float64)

    def weights(self, rows: NDArray[np.int64]) -> Array:
        """Weights of some rows, every class the same in sum; their mean is 1. [m]"""
        if not self.n_classes:
            return np.ones(rows.size)
        places = self.values[rows].astype(np.int64)
        counts = np.bincount(places, minlength=self.n_classes)
        present = int((counts > 0).sum())
        return np.asarray(rows.size / (present * counts[places].astype(np.float64)))

    def read(self, outputs: Array) -> Array:
        """What a probe says: the class of the largest output, or the number. [n]"""
        return outputs.argmax(1).astype(np.float64) if self.n_classes else outputs[:, 0]


def make_splits(outputs: Outputs, clusters: NDArray[np.int64], folds: int, seed: int) -> tuple[Split, ...]:
    """Outer and inner folds in which no cluster is cut; classes are spread evenly.

    Args:
        outputs: labels.
        clusters: of each row. [n]
        folds: outer ones.
        seed: of the shuffling.
    """
    rows = np.arange(outputs.values.size)
    found = []
    for train, test in _folds(outputs, rows, clusters, folds, seed):
        inner = tuple(
            (np.searchsorted(train, a), np.searchsorted(train, b))
            for a, b in _folds(outputs, train, clusters, INNER, seed + 1)
        )
        found.append(Split(train, test, inner))
    return tuple(found)


def whole_split(outputs: Outputs, clusters: NDArray[np.int64], seed: int) -> Split:
    """All rows to fit and none to test, for a probe that is used elsewhere."""
    rows = np.arange(outputs.values.size)
    return Split(rows, rows[:0], tuple(_folds(outputs, rows, clusters, INNER, seed + 1)))


def _folds(
    outputs: Outputs, rows: NDArray[np.int64], clusters: NDArray[np.int64], folds: int, seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(rest, fold) of some rows, ascending."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    groups = clusters[rows]
    folds = min(folds, np.unique(groups).size)
    if outputs.n_classes:
        parts = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(
            rows, outputs.values[rows].astype(int), groups
        )
    else:
        parts = GroupKFold(folds, shuffle=True, random_state=seed).split(rows, groups=groups)
    for rest, fold in parts:
        yield np.sort(rows[rest]), np.sort(rows[fold])


def fit_split(x: Array, outputs: Outputs, split: Split, method: Method = "ridge", k: int | None = None) -> LinearProbe:
    """The probe of one split's rows, with the penalty that its inner folds choose.

    Args:
        x: rows. [n, d]
        outputs: labels.
        split: which rows fit.
        method: how.
        k: read no more than this many columns, those that go best with an output among the rows that fit (W. Gurnee et
            al., Finding Neurons in a Haystack, TMLR 2023); the weights of the others are 0.
    """
    if k is not None and k < x.shape[1]:
        kept = _strongest(x[split.train], outputs, split.train, k)
        found = fit_split(x[:, kept], outputs, split, method)
        weights = np.zeros((x.shape[1], found.offset.size))
        weights[kept] = found.weights
        return LinearProbe(weights, found.offset, found.penalty)
    rows, train = x[split.train], split.train
    if method == "logistic":
        return _fit_logistic(rows, outputs, split)
    y, weights = outputs.columns[train], outputs.weights(train)
    errors = np.zeros(PENALTIES.size)
    for a, b in split.inner:
        inner = Ridge(rows[a], y[a], outputs.weights(train[a]))
        errors += inner.errors(rows[b], y[b], weights[b])
    return Ridge(rows, y, weights).at(float(PENALTIES[errors.argmin()]))


def predict_out_of_fold(
    x: Array, outputs: Outputs, splits: tuple[Split, ...], method: Method = "ridge", k: int | None = None
) -> tuple[Array, float]:
    """What probes say of rows that they were not fitted to, and the median of their penalties. [n]"""
    said = np.full(outputs.values.size, np.nan)
    penalties = []
    for split in splits:
        probe = fit_split(x, outputs, split, method, k)
        said[split.test] = outputs.read(probe.outputs(x[split.test]))
        penalties.append(probe.penalty)
    return said, float(np.median(penalties))


def _strongest(rows: Array, outputs: Outputs, train: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """The columns of the largest weighted correlation with some output, ascending; ties go to the lower index."""
    weights = outputs.weights(train)
    y = outputs.columns[train]
    x = rows - weights @ rows / rows.shape[0]
    y = y - weights @ y / rows.shape[0]
    spread = np.sqrt(weights @ x**2)[:, None] * np.sqrt(weights @ y**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        # a column that never varies correlates with nothing
        strength = np.nan_to_num(np.abs(x.T @ (weights[:, None] * y)) / spread).max(1)
    return np.sort(np.argsort(-strength, kind="stable")[:k])


def _fit_logistic(rows: Array, outputs: Outputs, split: Split) -> LinearProbe:
    """Multinomial logistic regression on rows of unit variance; the inner folds choose by balanced accuracy."""
    from sklearn.metrics import balanced_accuracy_score

    places = outputs.values[split.train].astype(int)
    mean, scale = rows.mean(0), float(rows.std(0).mean()) or 1.0
    scaled = (rows - mean) / scale
    scores = np.zeros(LOGISTIC_PENALTIES.size)
    for a, b in split.inner:
        for i, penalty in enumerate(LOGISTIC_PENALTIES):
            said = _logistic(scaled[a], places[a], penalty).predict(scaled[b])
            scores[i] += float(balanced_accuracy_score(places[b], said))
    # of equal ones the larger penalty, which claims less
    best = float(LOGISTIC_PENALTIES[scores.size - 1 - scores[::-1].argmax()])
    found = _logistic(scaled, places, best)
    weights, offset = found.coef_.T / scale, found.intercept_
    if weights.shape[1] == 1:  # two classes have one column: the second against the first
        weights, offset = np.hstack([-weights, weights]) / 2, np.concatenate([-offset, offset]) / 2
    return LinearProbe(weights, offset - mean @ weights, best)


def _logistic(rows: Array, places: NDArray[np.int64], penalty: float):  # type: ignore[no-untyped-def]
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1.0 / penalty, class_weight="balanced", max_iter=1_000).fit(rows, places)
