"""Closed-form ridge, sparse and logistic probes against scikit-learn; folds that share no calculation."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score

from codi_int.probes import ridge
from codi_int.probes.fitting import (
    LOGISTIC_PENALTIES,
    Outputs,
    fit_split,
    make_splits,
    predict_out_of_fold,
    whole_split,
)

RNG = np.random.default_rng(0)
PLACES = RNG.integers(3, size=90).astype(float)
CLUSTERS = np.arange(90) // 2
X = RNG.normal(size=(90, 8))
X[:, 2] += 2 * (PLACES == 1)
X[:, 5] += 2 * (PLACES == 2)
CLASSES = Outputs(PLACES, 3)
NUMBERS = Outputs(X[:, 2] * 3 + RNG.normal(size=90), 0)


@pytest.mark.parametrize("width", [8, 200])
@pytest.mark.parametrize("outputs", [CLASSES, NUMBERS])
def test_ridge_is_scikit_learns_for_every_penalty(width: int, outputs: Outputs) -> None:
    """More rows than dimensions and the other way round, weighted by class and not."""
    x = RNG.normal(size=(90, width)) + 5
    rows = np.arange(60)
    weights, y = outputs.weights(rows), outputs.columns
    fitted = ridge.Ridge(x[:60], y[:60], weights)
    centred = x[:60] - weights @ x[:60] / 60
    unit = (weights[:, None] * centred**2).sum() / width
    errors = fitted.errors(x[60:], y[60:], np.full(30, 2.0), [0.01, 10.0])
    for penalty, error in zip((0.01, 10.0), errors, strict=True):
        expected = Ridge(alpha=penalty * unit).fit(x[:60], y[:60], sample_weight=weights)
        said = expected.predict(x[60:]).reshape(30, -1)
        assert np.allclose(fitted.at(penalty).outputs(x[60:]), said, atol=1e-8)
        assert error == pytest.approx(2 * ((y[60:] - said) ** 2).sum())


@pytest.mark.parametrize("outputs", [CLASSES, NUMBERS])
def test_the_penalty_is_the_best_of_the_inner_folds(outputs: Outputs) -> None:
    (split, *_) = make_splits(outputs, CLUSTERS, 5, 0)
    train, y = split.train, outputs.columns
    errors = []
    for penalty in ridge.PENALTIES:
        total = 0.0
        for a, b in split.inner:
            probe = ridge.Ridge(X[train[a]], y[train[a]], outputs.weights(train[a])).at(penalty)
            residue = y[train[b]] - probe.outputs(X[train[b]])
            total += float((outputs.weights(train)[b][:, None] * residue**2).sum())
        errors.append(total)
    assert fit_split(X, outputs, split).penalty == ridge.PENALTIES[int(np.argmin(errors))]
    assert 0 < np.argmin(errors) < len(errors) - 1, "an end of the grid would be found by chance"


def test_no_cluster_is_in_two_parts_of_a_split() -> None:
    for outputs in (CLASSES, NUMBERS):
        splits = make_splits(outputs, CLUSTERS, 5, 0)
        assert sorted(np.concatenate([split.test for split in splits])) == list(range(90))
        for split in splits:
            assert not set(CLUSTERS[split.train]) & set(CLUSTERS[split.test])
            assert split.train.size + split.test.size == 90
            for a, b in split.inner:
                assert not set(CLUSTERS[split.train[a]]) & set(CLUSTERS[split.train[b]])
                assert sorted([*a, *b]) == list(range(split.train.size))
    whole = whole_split(CLASSES, CLUSTERS, 0)
    assert (whole.train.size, whole.test.size, len(whole.inner)) == (90, 0, 3)


def test_every_class_weighs_the_same() -> None:
    places = np.array([0.0, 0, 0, 1, 1, 2])
    assert Outputs(places, 3).weights(np.arange(6)) == pytest.approx([2 / 3, 2 / 3, 2 / 3, 1, 1, 2])
    # a class that some rows lack takes no part in it
    assert Outputs(places, 3).weights(np.arange(5)) == pytest.approx([5 / 6, 5 / 6, 5 / 6, 5 / 4, 5 / 4])


def test_sparse_probes_read_the_columns_that_carry_the_target() -> None:
    whole = whole_split(CLASSES, CLUSTERS, 0)
    probe = fit_split(X, CLASSES, whole, k=2)
    assert set(np.flatnonzero(np.abs(probe.weights).sum(1))) == {2, 5}
    alone = fit_split(X[:, [2, 5]], CLASSES, whole)
    assert np.allclose(probe.outputs(X), alone.outputs(X[:, [2, 5]]))
    assert np.allclose(fit_split(X, CLASSES, whole, k=8).outputs(X), fit_split(X, CLASSES, whole).outputs(X))
    still = np.hstack([X, np.ones((90, 1))])
    assert np.isfinite(fit_split(still, CLASSES, whole, k=9).outputs(still)).all()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_logistic_probes_are_scikit_learns(n_classes: int) -> None:
    outputs = Outputs(np.minimum(PLACES, n_classes - 1), n_classes)
    split = whole_split(outputs, CLUSTERS, 0)
    probe = fit_split(X, outputs, split, "logistic")
    assert probe.penalty in LOGISTIC_PENALTIES
    scaled = (X - X.mean(0)) / X.std(0).mean()
    model = LogisticRegression(C=1 / probe.penalty, class_weight="balanced", max_iter=1000)
    expected = model.fit(scaled, outputs.values.astype(int)).predict(scaled)
    assert outputs.read(probe.outputs(X)).tolist() == expected.tolist()
    assert balanced_accuracy_score(outputs.values, expected) > 0.7


def test_out_of_fold_predictions_never_saw_their_rows() -> None:
    """Labels that follow nothing are read no better than by chance, however many dimensions there are to learn them."""
    noise = np.random.default_rng(1)
    labels, wide = Outputs(noise.integers(2, size=200).astype(float), 2), noise.normal(size=(200, 150))
    said, _ = predict_out_of_fold(wide, labels, make_splits(labels, np.arange(200), 5, 0))
    assert 0.4 < balanced_accuracy_score(labels.values, said) < 0.6
    whole = fit_split(wide, labels, whole_split(labels, np.arange(200), 0))
    assert balanced_accuracy_score(labels.values, labels.read(whole.outputs(wide))) > 0.65
