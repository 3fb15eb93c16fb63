"""Edits: what they do to latents, and what they refuse."""

from collections.abc import Callable

import pytest
import torch

from codi_int.errors import CodiError, ConfigError, FeatureError
from codi_int.interventions.edits.basic import Ablate, Amplify, Edit, MovableEdit, Swap, derangement

LATENTS = torch.tensor([[1.0, 0.0, 3.0, 0.0], [0.0, -2.0, 4.0, 0.0], [5.0, 0.0, 0.0, 0.5]])


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (Ablate(2), [[1, 0, 0, 0], [0, -2, 0, 0], [5, 0, 0, 0.5]]),
        (Ablate((0, 2)), [[0, 0, 0, 0], [0, -2, 0, 0], [0, 0, 0, 0.5]]),
        (Ablate(0, mode="mean"), [[2, 0, 3, 0], [2, -2, 4, 0], [2, 0, 0, 0.5]]),
        (Ablate(1, mode="set", value=7.0), [[1, 7, 3, 0], [0, 7, 4, 0], [5, 7, 0, 0.5]]),
        (Amplify(1, factor=5), [[1, 0, 3, 0], [0, -10, 4, 0], [5, 0, 0, 0.5]]),
        (Amplify((0, 2), -1.0), [[-1, 0, -3, 0], [0, -2, -4, 0], [-5, 0, 0, 0.5]]),
        (Swap(0, 2), [[3, 0, 1, 0], [4, -2, 0, 0], [0, 0, 5, 0.5]]),
        (Swap((0, 1), (3, 2)), [[0, 3, 0, 1], [0, 4, -2, 0], [0.5, 0, 0, 5]]),
    ],
)
def test_edit_does_what_its_name_says_and_leaves_its_input(edit: Edit, expected: list[list[float]]) -> None:
    before = LATENTS.clone()
    assert torch.equal(edit.edit(LATENTS), torch.tensor(expected, dtype=torch.float32))
    assert torch.equal(before, LATENTS)
    assert isinstance(edit, MovableEdit)
    assert edit.label


def test_resample_takes_every_value_from_another_problem() -> None:
    latents = torch.arange(40.0).reshape(20, 2)
    edited = Ablate(1, mode="resample", seed=3).edit(latents)
    assert torch.equal(edited[:, 0], latents[:, 0])
    assert sorted(edited[:, 1].tolist()) == latents[:, 1].tolist()
    assert (edited[:, 1] != latents[:, 1]).all()
    assert torch.equal(edited, Ablate(1, mode="resample", seed=3).edit(latents))


@pytest.mark.parametrize("n", [2, 3, 50])
@pytest.mark.parametrize("seed", range(5))
def test_derangement_leaves_no_row_in_place(n: int, seed: int) -> None:
    source = derangement(n, seed)
    assert sorted(source.tolist()) == list(range(n))
    assert (source != torch.arange(n)).all()


def test_moved_edits_keep_everything_but_the_features() -> None:
    assert Ablate(1, mode="mean").moved_to([3]) == Ablate((3,), mode="mean")
    assert Amplify(1, 2.5).moved_to([3]) == Amplify((3,), 2.5)
    assert Swap(0, 1).moved_to([2, 3]) == Swap((2,), (3,))


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Ablate(-1), FeatureError, "from 0 upwards, got -1"),
        (lambda: Ablate(True), FeatureError, "got True"),
        (lambda: Ablate(()), FeatureError, "at least one"),
        (lambda: Ablate((1, 1)), FeatureError, "once"),
        (lambda: Ablate(1, mode="median"), ConfigError, "zero, mean, resample, set"),
        (lambda: Ablate(1, mode="set", value=float("inf")), ConfigError, "finite"),
        (lambda: Amplify(1, float("nan")), ConfigError, "finite number, got nan"),
        (lambda: Amplify(1, 1.0), ConfigError, "leaves a feature as it is"),
        (lambda: Swap(4, 4), ConfigError, "swapped with itself"),
        (lambda: Swap((4, 5), (6,)), ConfigError, "one size"),
        (lambda: Ablate(4).edit(LATENTS), FeatureError, "Feature 4 does not exist: this SAE has features 0 to 3"),
        (lambda: Swap(0, 9).edit(LATENTS), FeatureError, "0 to 3"),
        (lambda: Ablate(0, mode="resample").edit(LATENTS[:1]), ConfigError, "at least two"),
    ],
)
def test_edits_that_cannot_work_teach(make: Callable[[], object], error: type[CodiError], says: str) -> None:
    with pytest.raises(error, match=says):
        make()
