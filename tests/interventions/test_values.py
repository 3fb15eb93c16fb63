"""Clamp, steer and interchange on latents, and edits of the residual, by hand; and what they refuse."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from codi_int.errors import CodiError, ConfigError, FeatureError, HookError
from codi_int.interventions.edits.basic import Edit, MovableEdit, can_move
from codi_int.interventions.edits.residual import InterchangeResidual, ReplaceByMean, ResidualEdit, SteerAlong
from codi_int.interventions.edits.values import Clamp, ClampAtPercentile, Interchange, Steer
from codi_int.interventions.engine.arms import plan_residual
from codi_int.types import Site

LATENTS = torch.tensor([[1.0, 0.0, 3.0], [0.0, -2.0, 4.0], [5.0, 0.0, 0.0]])
SITE = Site(1, 2)
X = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (Clamp(0, high=2), [[1, 0, 3], [0, -2, 4], [2, 0, 0]]),
        (Clamp((0, 1), low=-1.0, high=2.0), [[1, 0, 3], [0, -1, 4], [2, 0, 0]]),
        (Clamp(2, low=2.5), [[1, 0, 3], [0, -2, 4], [5, 0, 2.5]]),
        (Clamp(1, 7, 7), [[1, 7, 3], [0, 7, 4], [5, 7, 0]]),
        # of 1 and 5, of the single -2 (on its own side), of 3 and 4
        (ClampAtPercentile(0, 50), [[3, 0, 3], [3, -2, 4], [3, 0, 0]]),
        (ClampAtPercentile((1, 2), 90), [[1, -2, 3.9], [0, -2, 3.9], [5, -2, 3.9]]),
        (Steer((0, 2), -1.5), [[-0.5, 0, 1.5], [-1.5, -2, 2.5], [3.5, 0, -1.5]]),
        (Interchange(0, (2, -1, 1)), [[5, 0, 3], [0, -2, 4], [0, 0, 0]]),
        (Interchange((0, 2), (1, 0, -1)), [[0, 0, 4], [1, -2, 3], [5, 0, 0]]),
        (Interchange(None, (-1, -1, 0)), [[1, 0, 3], [0, -2, 4], [1, 0, 3]]),
    ],
)
def test_edit_does_what_its_name_says_and_leaves_its_input(edit: Edit, expected: list[list[float]]) -> None:
    before = LATENTS.clone()
    assert torch.equal(edit.edit(LATENTS), torch.tensor(expected, dtype=torch.float32))
    assert torch.equal(before, LATENTS)
    assert isinstance(edit, MovableEdit)
    assert edit.label


def test_an_interchange_takes_the_clean_runs_values() -> None:
    clean = 10.0 * LATENTS
    assert Interchange(0, (2, -1, 1)).edit_from(LATENTS, clean)[:, 0].tolist() == [50.0, 0.0, 0.0]
    assert torch.equal(Interchange(None, (-1, 0, -1)).edit_from(LATENTS, clean)[1], clean[0])
    moved = InterchangeResidual((1, -1, -1)).edit_residual_from(X, -X)
    assert moved.tolist() == [[-3.0, -4.0], [3.0, 4.0], [1.0, 2.0]]


def test_a_percentile_is_that_of_the_problems_on_which_the_feature_fires() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(200, 3, generator=generator).abs() * (torch.rand(200, 3, generator=generator) < 0.3)
    values[:, 1] *= -1.0
    values[:, 2] = 0.0
    found = ClampAtPercentile((0, 1), 90).edit(values)
    for column, sign in ((0, 1.0), (1, -1.0)):
        fires = values[:, column][values[:, column] != 0].numpy()
        assert found[:, column].tolist() == pytest.approx([sign * np.percentile(sign * fires, 90)] * 200)
    # the controls' rule is the edit's own, with their own percentile
    assert ClampAtPercentile(0, 90).moved_to([1]) == ClampAtPercentile((1,), 90)
    # at a later site the clean run says how strongly a feature fires
    assert ClampAtPercentile(0).edit_from(0 * values, values)[0, 0] == found[0, 0]
    with pytest.raises(
        FeatureError, match=r"^Feature 2 fires on none of the 200 problems: it has no p90 there\.\n.*2\.0"
    ):
        ClampAtPercentile((0, 2)).edit(values)
    with pytest.raises(ConfigError, match="A percentile lies from 0 to 100, got 101"):
        ClampAtPercentile(0, 101)


def test_moved_edits_keep_everything_but_the_features() -> None:
    assert Clamp(1, 0.5, 2.0).moved_to([3]) == Clamp((3,), 0.5, 2.0)
    assert Steer(1, 2.5).moved_to([3]) == Steer((3,), 2.5)
    assert Interchange(1, (1, 0)).moved_to([2]) == Interchange((2,), (1, 0))
    assert can_move(Interchange(1, (1, 0)))
    assert not can_move(Interchange(None, (1, 0))), "all features have no stand-ins"


def test_labels_say_what_was_done() -> None:
    assert Clamp(4, low=-1.0, high=2.0).label == "clamp 4 from -1 to 2"
    assert Clamp((4, 5), high=2).label == "clamp 4, 5 to at most 2"
    assert Clamp(4, 2.0, 2.0).label == "set 4 to 2"
    assert Steer(4, -2).label == "steer 4 by -2"
    assert Interchange((4, 5), (1, -1, 0)).label == "4, 5 of another problem on 2 problems"


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (SteerAlong(torch.tensor([1.0, -1.0]), 2), [[3, 0], [5, 2], [3, 0]]),
        (InterchangeResidual((1, 0, -1)), [[3, 4], [1, 2], [1, 2]]),
        (ReplaceByMean(), [[5 / 3, 8 / 3]] * 3),
    ],
)
def test_residual_edits_by_hand(edit: ResidualEdit, expected: list[list[float]]) -> None:
    before = X.clone()
    plan = plan_residual(edit, SITE, X)
    assert torch.equal(before, X)
    moved = X.clone()
    moved[plan.rows] += plan.delta
    assert torch.allclose(moved, torch.tensor(expected, dtype=torch.float32))
    assert plan.label == edit.label


def test_a_problem_that_gets_what_it_has_is_not_touched() -> None:
    plan = plan_residual(InterchangeResidual((2, 0, -1)), SITE, X)
    assert plan.rows.tolist() == [1]
    assert plan.edited.tolist() == [False, True, False]


class Narrow:
    label = "narrow"

    def edit_residual(self, activations: Tensor) -> Tensor:
        return activations[:, :1]


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Clamp(1, 2.0, 1.0), ConfigError, "lower limit 2 is above the upper limit 1"),
        (lambda: Clamp(1), ConfigError, "without limits"),
        (lambda: Clamp(1, low=float("nan")), ConfigError, "finite number, got nan"),
        (lambda: Clamp(-1, 0), FeatureError, "from 0 upwards"),
        (lambda: Steer(1, 0), ConfigError, "changes nothing"),
        (lambda: Steer(1, float("inf")), ConfigError, "finite number, got inf"),
        (lambda: Steer((1, 1), 2), FeatureError, "once"),
        (lambda: Interchange(1, (0, -2)), ConfigError, "got -2"),
        (lambda: Interchange(1, (-1, -1)), ConfigError, "no source at all"),
        (lambda: Interchange((), (1, 0)), FeatureError, "at least one"),
        (lambda: Interchange(1, (1, 0)).edit(LATENTS), ConfigError, "got 2 for 3 problems"),
        (lambda: Interchange(1, (1, 3, -1)).edit(LATENTS), ConfigError, "Source 3 does not exist: .* 0 to 2"),
        (lambda: Interchange(None, (1, 3, -1)).edit(LATENTS), ConfigError, "Source 3 does not exist"),
        (lambda: Interchange(3, (1, 0, -1)).edit(LATENTS), FeatureError, "features 0 to 2"),
        (lambda: InterchangeResidual((1, 0)).edit_residual(X), ConfigError, "got 2 for 3 problems"),
        (lambda: SteerAlong(torch.ones(3)).edit_residual(X), ConfigError, "width 3, the residual 2"),
        (lambda: SteerAlong(torch.zeros(2)), ConfigError, "changes nothing"),
        (lambda: SteerAlong(torch.tensor([1.0, torch.nan])), ConfigError, "finite"),
        (lambda: plan_residual(SteerAlong(torch.ones(2), 1e25), SITE, X), ConfigError, "overflows"),
        (lambda: plan_residual(Narrow(), SITE, X), HookError, r"\(3, 1\) instead of activations \(3, 2\)"),
    ],
)
def test_edits_that_cannot_work_teach(make: Callable[[], object], error: type[CodiError], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        make()
    assert len(str(caught.value).splitlines()) <= 2
