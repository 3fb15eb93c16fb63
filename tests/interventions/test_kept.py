"""Findings are saved and read back as they were, also from folders that the command line has written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import codi_int as ci
from codi_int.errors import ConfigError, DataError, OutputError
from codi_int.interventions.engine.summary import family_of
from codi_int.interventions.evaluation import evaluate
from codi_int.types import Site

FORMER_EFFECT = {
    *("estimate", "low", "high", "confidence", "p_value", "method", "n", "n_touched", "n_broken", "n_fixed"),
    *("n_answer_changed", "logprob", "minimum_detectable", "verdict"),
}
PLACE = Site(2, 3)


@pytest.fixture(scope="module")
def result(engine_at: Callable[..., Any], right: Any) -> Any:
    controls = ci.Controls(features=3, directions=2)
    return engine_at(PLACE).run(ci.Ablate((3, 5)), right, controls=controls, data="stories")


@pytest.fixture(scope="module")
def screen(engine_at: Callable[..., Any], right: Any) -> Any:
    return ci.run_screen(engine_at(PLACE), right, [3, 5, 31])


def test_a_result_comes_back_equal(result: Any, tmp_path: Path) -> None:
    result.save(tmp_path)
    back = ci.load_result(tmp_path)
    for name in result.__dataclass_fields__:
        assert getattr(back, name) == getattr(result, name), name
    assert back == result
    assert type(back.outcomes["clean"][0].answer) is type(result.outcomes["clean"][0].answer)


def test_a_prediction_comes_back_equal(engine_at: Callable[..., Any], right: Any, tmp_path: Path) -> None:
    predictions = ci.predict_answers(ci.parse_claim("addition:subtraction"), right)
    found = ci.run_predicted(
        engine_at(PLACE), ci.Swap(3, 5), right, predictions, controls=ci.Controls(features=2), underpowered=True
    )
    found.save(tmp_path)
    back = ci.load_result(tmp_path)
    assert type(back) is type(found)
    assert (back.prediction, back.predictions, back.outcomes) == (found.prediction, found.predictions, found.outcomes)


def test_screens_maps_curves_and_evaluations_come_back_equal(
    screen: Any, engine_at: Callable[..., Any], llama: Any, right: Any, tmp_path: Path
) -> None:
    found = {
        "screen": screen,
        "map": ci.run_map(llama, right, ci.MapPlan((PLACE, Site(1, 2)), propagate="split")),
        "curve": ci.run_curve(engine_at(PLACE), right, [3, 5], sizes=[1, 2], draws=2),
        "evaluation": evaluate(llama, right, data="stories"),
    }
    for name, finding in found.items():
        finding.save(tmp_path / name)
        assert ci.load_result(tmp_path / name) == finding, name
    pairs = ci.run_pairs(engine_at(PLACE), right, [(3, 5)])
    pairs.save(tmp_path / "pairs")
    assert ci.load_result(tmp_path / "pairs") == pairs


def test_an_effect_by_path_is_a_table_a_figure_and_a_folder(
    engine_at: Callable[..., Any], right: Any, tmp_path: Path
) -> None:
    found = ci.split_effect(engine_at(PLACE), ci.Amplify((3, 5), 4), right, seed=2)
    assert (found.n_problems, found.seed, found.model) == (len(right), 2, engine_at(PLACE).model.name)
    found.save(tmp_path)
    assert ci.load_result(tmp_path) == found
    frame = found.to_frame()
    assert list(frame["path"]) == ["both", "cache", "recurrence", "both - (cache + recurrence)"]
    effects = [found.both, found.cache, found.recurrence]
    assert list(frame["estimate"]) == [*(effect.estimate for effect in effects), found.interaction.estimate]
    assert list(frame["logprob"]) == [*(e.logprob.estimate for e in effects), found.interaction_logprob.estimate]
    assert list(frame["n_broken"][:3]) == [effect.n_broken for effect in effects]
    assert frame["n_broken"].isna()[3]
    assert frame["estimate"][3] == pytest.approx(frame["estimate"][0] - frame["estimate"][1] - frame["estimate"][2])
    accuracy, nats = found.plot().axes
    dots = [line.get_xdata()[0] for line in accuracy.lines if line.get_marker() == "o"]
    assert dots == pytest.approx(list(100 * frame["estimate"]))
    assert [line.get_xdata()[0] for line in nats.lines if line.get_marker() == "o"] == pytest.approx(
        list(frame["logprob"])
    )
    assert "<table" in found._repr_html_()
    other = ci.split_effect(engine_at(PLACE), ci.Amplify((3, 5), 4), right, seed=3)
    with pytest.raises(OutputError, match="holds another run"):
        other.save(tmp_path)


def test_a_family_is_kept_edit_by_edit(engine_at: Callable[..., Any], right: Any, tmp_path: Path) -> None:
    results = engine_at(PLACE).run_many([ci.Amplify(3, 2), ci.Amplify(3, 5)], right, controls=0)
    family = family_of(results)
    family.save(tmp_path)
    assert [ci.load_result(tmp_path / name) for name in ("1", "2")] == list(family.results)
    with pytest.raises(DataError, match="a family of edits has a folder for each") as told:
        ci.load_result(tmp_path)
    assert told.value.remedy == f"Give one of {tmp_path / '1'}, {tmp_path / '2'}."
    assert list(family.to_frame()["factor"]) == [2.0, 5.0]


def test_results_of_the_former_schema_are_still_read(tmp_path: Path, engine_at: Callable, right: tuple) -> None:
    result = engine_at(PLACE).run(ci.Ablate(3), right, controls=2)
    result.save(tmp_path)
    document = json.loads((tmp_path / "result.json").read_text())
    document["schema"] = "codi-int/result@1"
    for name in set(document["effect"]) - FORMER_EFFECT:
        del document["effect"][name]
    for row in document["by_operation"]:
        del row["contrast"]
    for name in ("p_value", "difference", "matched"):
        del document["controls"]["random_features"][name]
    del document["by_steps"]
    (tmp_path / "result.json").write_text(json.dumps(document))
    table = pq.read_table(tmp_path / "outcomes.parquet").drop_columns(["answer_margin"])
    pq.write_table(table, tmp_path / "outcomes.parquet")
    back = ci.load_result(tmp_path)
    assert (back.effect.estimate, back.effect.p_value) == (result.effect.estimate, result.effect.p_value)
    assert (back.effect.conclusion, back.effect.probability, back.by_steps) == (None, None, ())
    assert back.outcomes["intervened"][3].answer == result.outcomes["intervened"][3].answer
    assert back.effect.verdict in repr(back)
    assert back.plot() is not None


def test_another_finding_is_refused_and_the_same_is_not(result: Any, screen: Any, tmp_path: Path) -> None:
    result.save(tmp_path)
    before = (tmp_path / "result.json").read_bytes()
    result.save(tmp_path)
    with pytest.raises(OutputError, match=r"holds another run: result.json, .*give|Give"):
        screen.save(tmp_path)
    assert (tmp_path / "result.json").read_bytes() == before
    screen.save(tmp_path, force=True)
    assert not (tmp_path / "result.json").exists()
    assert ci.load_result(tmp_path) == screen


def test_a_document_stands_for_its_folder_and_what_is_missing_is_said(screen: Any, tmp_path: Path) -> None:
    screen.save(tmp_path / "a" / "b")
    assert ci.load_result(tmp_path / "a" / "b" / "screen.json") == screen
    with pytest.raises(DataError, match=r"nowhere does not exist"):
        ci.load_result(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"manifest\.json is a file") as told:
        ci.load_result(tmp_path / "a" / "b" / "manifest.json")
    assert told.value.remedy == f"Give the folder of the run, such as {tmp_path / 'a' / 'b'}."
    with pytest.raises(DataError, match="holds no result itself; its folders do") as told:
        ci.load_result(tmp_path / "a")
    assert told.value.remedy == f"Give one of {tmp_path / 'a' / 'b'}."


@pytest.mark.parametrize("content", [None, "{", "{}", '{"schema": "codi-int/screen@1", "rows": 3}'])
def test_what_is_no_finding_is_a_data_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "screen.json").write_text(content)
    with pytest.raises(DataError):
        ci.load_result(tmp_path)


def test_frames_have_the_columns_of_the_kept_tables(result: Any, screen: Any, tmp_path: Path) -> None:
    screen.save(tmp_path / "screen")
    frame, table = screen.to_frame(), pq.read_table(tmp_path / "screen" / "screen.parquet")
    assert list(frame.columns) == table.column_names
    assert len(frame) == 3
    assert list(frame["feature"]) == [3, 5, 31]
    assert list(frame["estimate"]) == [row.effect.accuracy.value for row in screen.rows]
    assert list(frame["site"]) == ["L2.P3"] * 3
    problems = result.to_frame()
    assert list(problems["problem_id"]) == [outcome.problem_id for outcome in result.outcomes["clean"]]
    assert problems["intervened_correct"].mean() == result.arms["intervened"].accuracy
    assert problems["touched"].sum() == result.effect.n_touched


def test_plots_are_figures_of_the_same_numbers(result: Any, screen: Any) -> None:
    left = result.plot().axes[0]
    assert left.lines[2].get_xdata()[0] == pytest.approx(100 * result.effect.estimate)
    assert result.plot("effect")._repr_png_()[:4] == b"\x89PNG"
    assert {name: len(screen.plot(name).axes) for name in ("volcano", "effects", "firing", "ranks")}
    with pytest.raises(ConfigError, match=r"no figure sideways of .*\nIt has volcano, effects, firing, ranks"):
        screen.plot("sideways")
    with pytest.raises(DataError, match="nothing to draw"):
        result.plot("prediction")
