"""--neurons: the plain baselines of ablate and amplify."""

import json
from collections.abc import Callable

import pytest

import codi_int as ci


@pytest.mark.parametrize("command", [("ablate",), ("amplify", "--factor", "5")])
def test_neurons_and_means_stand_beside_the_controls(run: Callable, shelf, command: tuple[str, ...]) -> None:
    words = (
        *command,
        "--feature",
        str(shelf.living),
        "--layer",
        "2",
        "--model",
        shelf.model,
        "--data",
        shelf.data,
        "--controls",
        "2",
        "--neurons",
        "3",
    )
    found = json.loads(run(*words, "--json").out)
    assert found["controls"].keys() == {
        *("random_features", "single_neurons", "single_dimensions", "principal_components", "difference_of_means"),
    }
    edit = ci.Ablate(shelf.living) if command == ("ablate",) else ci.Amplify(shelf.living, 5)
    engine = ci.FeatureInterventionEngine(ci.load_model(shelf.model), {ci.Site(2, 3): ci.load_sae(shelf.sae)})
    expected = engine.run(
        edit,
        ci.load_problems(shelf.data),
        controls=ci.Controls(2, neurons=3, mean_difference=True, dimensions=3, components=3),
    ).to_dict()
    assert found["controls"] == expected["controls"]
    page = run(*words).page
    assert "3 controls: single neurons" in page
    assert "1 control: difference of means" in page


def test_a_negative_number_is_refused(run: Callable, shelf) -> None:
    ran = run(
        "ablate", "--feature", "1", "--layer", "2", "--model", shelf.model, "--data", shelf.data, "--neurons", "-1"
    )
    assert (ran.code, "takes whole numbers from 0" in ran.err) == (2, True)
