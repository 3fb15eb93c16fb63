"""What users write in Python: sites, features, numbers, problems and edits in any spelling, or one of our errors."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import codi_int as ci
from codi_int.errors import CodiError, ConfigError, DataError, FeatureError, HookError, SiteError
from codi_int.numeric import as_number, as_whole
from codi_int.sites import as_sites
from codi_int.types import Site

PLACE = Site(2, 3)
pytestmark = pytest.mark.usefixtures("as_users_call")


@pytest.mark.parametrize("given", [PLACE, "L2.P3", (2, 3), (np.int64(2), torch.tensor(3)), (2, 3, "resid_post")])
def test_one_site_in_every_spelling(given: Any) -> None:
    assert Site.parse(given) == PLACE
    assert as_sites(given) == (PLACE,)
    assert as_sites([given, "P1.thought"]) == (PLACE, Site(None, 1, "thought"))
    assert type(Site.parse(given).layer) is int


@pytest.mark.parametrize("given", [3, "L2", (2,), (2, "3"), (2.0, 3), (True, 3), None, {"layer": 2}])
def test_what_is_no_site_is_a_site_error(given: Any) -> None:
    with pytest.raises(SiteError) as error:
        Site.parse(given)
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (449, 449),
        (np.int64(449), 449),
        (np.uint8(4), 4),
        (torch.tensor(449), 449),
        (np.array(449), 449),
        ([1, 2], (1, 2)),
        (range(1, 3), (1, 2)),
        (np.array([1, 2]), (1, 2)),
        (torch.tensor([1, 2]), (1, 2)),
        ((np.int32(1), 2), (1, 2)),
        (torch.tensor([1]), (1,)),
    ],
)
def test_features_of_python_numpy_and_torch(given: Any, meant: Any) -> None:
    for edit in (ci.Ablate(given), ci.Amplify(given, 2), ci.Clamp(given, 1), ci.Steer(given, 1)):
        assert edit.feature == meant
        assert {type(feature) for feature in edit.features} == {int}
    assert ci.Ablate(given) == ci.Ablate(meant)
    assert hash(ci.Ablate(given)) == hash(ci.Ablate(meant))
    assert ci.Swap(given, [7, 8] if len(np.atleast_1d(np.array(meant))) == 2 else 7).a == meant


@pytest.mark.parametrize(
    "given",
    [
        *("449", b"4", 4.5, np.float64(4), torch.tensor(4.0), True, np.bool_(True), torch.tensor(True), None, [], -1),
        *([1.0], ["1"], [True], [1, 1], torch.tensor([True, False]), np.array([[1, 2]]), {"a": 1}, object()),
    ],
)
def test_what_is_no_feature_is_a_feature_error(given: Any) -> None:
    for make in (ci.Ablate, lambda f: ci.Swap(f, 1), lambda f: ci.Steer(f, 1)):
        with pytest.raises(FeatureError):
            make(given)


@pytest.mark.parametrize("given", [2, 2.0, np.float32(2), np.int64(2), torch.tensor(2.0), torch.tensor(2), np.array(2)])
def test_numbers_of_python_numpy_and_torch(given: Any) -> None:
    assert ci.Amplify(1, given) == ci.Amplify(1, 2)
    assert ci.Amplify(1, given).label == "amplify 1 x 2"
    assert ci.Clamp(1, given, given).label == "set 1 to 2"
    assert ci.Ablate(1, mode="set", value=given).value == 2
    assert type(as_number("factor", given)) in {int, float}


@pytest.mark.parametrize("given", ["2", None, [2], True, 2j, torch.tensor([2.0]), np.array([1, 2]), math.nan])
def test_what_is_no_number_is_a_config_error(given: Any) -> None:
    for make in (lambda x: ci.Amplify(1, x), lambda x: ci.Steer(1, x), lambda x: ci.Ablate(1, mode="set", value=x)):
        with pytest.raises(ConfigError):
            make(given)


def test_whole_numbers() -> None:
    assert as_whole("seed", np.int64(3)) == as_whole("seed", torch.tensor(3)) == 3
    for given in (3.0, "3", True, torch.tensor([3]), None):
        with pytest.raises(ConfigError, match="seed is a whole number, got"):
            as_whole("seed", given)


def test_a_direction_of_numpy(engine_at: Callable[..., Any]) -> None:
    given = np.arange(24.0)
    assert torch.equal(ci.SteerAlong(given, np.float64(2)).vector, torch.arange(24.0, dtype=torch.float64))


def test_one_problem_or_one_text_is_thought_about(llama: Any, problems: Any) -> None:
    (whole,) = llama.answer(problems[:1])
    assert llama.answer(problems[0]) == [whole]
    (asked,) = llama.answer(problems[0].question)
    assert (asked.problem_id, asked.ids) == ("question-1", whole.ids)
    batch = llama.think([problems[0].question, problems[1]], capture=(2, 3))
    assert batch.problem_ids == ("question-1", problems[1].id)
    same = llama.think(list(problems[:2]), capture=[PLACE]).at(PLACE).values
    for site in ("L2.P3", (2, 3), PLACE):
        torch.testing.assert_close(batch.at(site).values, same)


@pytest.mark.parametrize("given", [3, None, [3], [None], "", "  ", {"question": "x"}])
def test_what_is_no_problem_is_a_data_error(llama: Any, given: Any) -> None:
    with pytest.raises(DataError):
        llama.think(given)


@pytest.mark.parametrize("key", ["L2.P3", (2, 3)])
def test_hooks_take_sites_in_every_spelling(llama: Any, problems: Any, key: Any) -> None:
    def run(place: Any) -> Any:
        with llama.hooks({place: lambda resid, context: -resid}) as session:
            found = llama.think(problems[:3]).thoughts
        assert session.receipts[0].key == PLACE
        return found

    assert torch.equal(run(key), run(PLACE))
    with pytest.raises(SiteError, match="Layer 9 does not exist"), llama.hooks({"L9.P3": print}):
        pass
    with pytest.raises(HookError, match="5 names no hook"), llama.hooks({5: print}):
        pass


def test_an_engine_takes_sites_and_saes_by_name(llama: Any, sae_at: Any, right: Any, tmp_path: Any) -> None:
    sae = sae_at(llama, PLACE)
    ci.save_sae(sae, tmp_path / "sae")
    plain = ci.FeatureInterventionEngine(llama, {PLACE: sae})
    named = ci.FeatureInterventionEngine(llama, {"L2.P3": str(tmp_path / "sae")})
    assert named.sites == (PLACE,)
    assert named.saes[PLACE].sha256 == sae.sha256
    want = plain.run(ci.Ablate(3), right, controls=0)
    got = named.run(ci.Ablate(np.int64(3)), right, controls=np.int64(0), seed=np.int64(0), site=(2, 3))
    assert (got.effect, got.outcomes, got.experiment.features) == (want.effect, want.outcomes, (3,))
    for wrong in ("codi-mini/L14.P3", [PLACE], {"L2": sae}, {(2,): sae}):
        with pytest.raises(CodiError):
            ci.FeatureInterventionEngine(llama, wrong)


def test_a_function_is_an_edit(engine_at: Any, right: Any) -> None:
    engine = engine_at(PLACE)

    def without_three(latents: torch.Tensor) -> torch.Tensor:
        out = latents.clone()
        out[:, 3] = 0
        return out

    want = engine.run(ci.Ablate(3), right, controls=0)
    got = engine.run(without_three, right, controls=5)
    assert got.effect == want.effect
    assert (got.experiment.kind, got.experiment.label) == ("function", "without_three")
    assert got.controls == {}
    for table in (ci.AtSites({"L2.P3": without_three}), ci.AtSites({(2, 3): [without_three]})):
        assert engine.run(table, right, controls=0).effect == want.effect
    assert [r.effect for r in engine.run_many([without_three, ci.Ablate(3)], right, controls=0)] == [want.effect] * 2
    for wrong in (5, ci.Ablate, None, "ablate"):
        with pytest.raises(HookError, match="is no edit"):
            engine.run(wrong, right, controls=0)


def test_one_problem_or_one_text_is_run(engine_at: Any, right: Any) -> None:
    engine = engine_at(PLACE)
    one = engine.run(ci.Ablate(3), right[0], controls=0)
    assert one.experiment.n_problems == 1
    assert one.outcomes["clean"][0].correct
    text = engine.run(ci.Ablate(3), right[0].question, controls=0)
    assert text.outcomes["intervened"][0].answer == one.outcomes["intervened"][0].answer
    assert not text.outcomes["clean"][0].correct  # nobody knows the true answer of a question


def test_screens_maps_and_curves_take_the_same(engine_at: Any, right: Any, llama: Any) -> None:
    engine = engine_at(PLACE)
    want = ci.run_screen(engine, right, [1, 3])
    assert ci.run_screen(engine, list(right), np.array([1, 3]), site="L2.P3").rows == want.rows
    assert ci.run_screen(engine, right, torch.tensor([1, 3]), site=[(2, 3)]).rows == want.rows
    assert ci.MapPlan("L2.P3").sites == ci.MapPlan([(2, 3)]).sites == (PLACE,)
    curve = ci.run_curve(engine, right, np.array([3, 1]), sizes=[1], draws=0, site="L2.P3")
    assert curve.top == ci.run_curve(engine, right, [3, 1], sizes=[1], draws=0).top
    with pytest.raises(FeatureError):
        ci.run_screen(engine, right, [1.0])


def test_the_name_of_a_model_is_no_model() -> None:
    with pytest.raises(ConfigError, match="'codi-mini' is no model"):
        ci.FeatureInterventionEngine("codi-mini", {"L2.P3": None})
