"""features export: what Neuronpedia's own client makes of the files, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from neuronpedia.np_activation import Activation
from neuronpedia.np_explanation import Explanation
from neuronpedia.np_feature import Feature, Logit
from neuronpedia.np_source import Source
from neuronpedia.requests.feature_request import MAX_FEATURES_PER_BATCH, FeatureRequest

import codi_int as ci
from codi_int.features import neuronpedia
from codi_int.features.neuronpedia import NeuronpediaSource, default_source, neuronpedia_batches


def words(shelf, out: Path, *more: str) -> tuple[str, ...]:
    place = ("--model", shelf.model, "--data", shelf.data, "--sae", shelf.sae)
    return ("features", "export", *place, "--out", str(out), *more)


def as_client_objects(batch: dict) -> list[Feature]:
    """The batch in the client's classes, whose constructors take no field that they do not know."""
    place = {"modelId": batch["modelId"], "source": batch["source"]}

    def feature(one: dict) -> Feature:
        names = {**place, "index": one["index"]}
        return Feature(
            **names,
            density=one["density"],
            top_logits=[Logit(**logit) for logit in one["topLogits"]],
            bottom_logits=[Logit(**logit) for logit in one["bottomLogits"]],
            activations=[Activation(**names, **activation) for activation in one["activations"]],
            explanations=[
                Explanation(**names, text=e["text"], method=e["methodName"], explainer_model=e["modelName"])
                for e in one["explanations"]
            ],
        )

    return [feature(one) for one in batch["features"]]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What the client would send over the network."""
    bodies: list[dict] = []

    def send(self: FeatureRequest, method: str, uri: str, json: dict) -> dict:
        bodies.append({"method": method, "uri": uri, "json": json})
        return {}

    monkeypatch.setenv("NEURONPEDIA_API_KEY", "none")
    monkeypatch.setattr(FeatureRequest, "send_request", send)
    return bodies


def test_the_files_are_what_the_client_would_send(
    run: Callable, shelf, tmp_path: Path, sent: list[dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neuronpedia, "MOST_FEATURES", 8)
    screen = tmp_path / "screen"
    kept = run(
        *("screen", "--model", shelf.model, "--data", shelf.data, "--sae", shelf.sae, "--layer", "2"),
        *("--feature", f"{shelf.living},3", "--confirm", "none", "--out", str(screen)),
    )
    assert kept.code == 0, kept.err
    more = ("--screen", str(screen), "--model-id", "tiny", "--json")
    ran = run(*words(shelf, tmp_path / "np", *more))
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    files = sorted((tmp_path / "np").glob("neuronpedia-*.json"))
    assert [file.name for file in files] == document["files"]
    assert len(files) > 1
    for file in files:
        batch = json.loads(file.read_text())
        Source(id=batch["source"], model_id=batch["modelId"], set_name="p3").upload_batch(as_client_objects(batch))
        assert sent[-1] == {"method": "POST", "uri": "upload-batch", "json": batch}
    assert (batch["modelId"], batch["source"]) == ("tiny", "2-p3")
    features = {one["index"]: one for body in sent for one in body["json"]["features"]}
    profiles = ci.profile_features(shelf.sae, ci.load_model(shelf.model), ci.load_problems(shelf.data))
    assert {index: one["density"] for index, one in features.items()} == {p.feature: p.firing_rate for p in profiles}
    # the effect is the screen's own
    (row,) = [one for one in ci.load_result(screen).rows if one.feature == shelf.living]
    told = features[shelf.living]["explanations"][-1]
    assert told["methodName"] == "codi-int ablation"
    assert f"accuracy {100 * row.estimate:+.2f} points" in told["text"]
    assert f"{row.logprob:+.4f} nats" in told["text"]
    assert document["n_with_effect"] == sum(
        e["methodName"] == "codi-int ablation" for one in features.values() for e in one["explanations"]
    )


def test_a_latent_stands_at_its_own_thought(shelf) -> None:
    model, problems = ci.load_model(shelf.model), ci.load_problems(shelf.data)
    sae = ci.load_sae(shelf.sae)
    (batch,) = neuronpedia_batches(ci.profile_features(sae, model, problems))
    one = next(found for found in batch["features"] if found["index"] == shelf.living)
    latents = sae.encode(model.think(problems, capture=[ci.Site(2, 3)]).at(ci.Site(2, 3)).values).dense()
    strongest = int(latents[:, shelf.living].abs().argmax())
    first = one["activations"][0]
    ids = model.encode_question(problems[strongest])
    at = len(ids) - 1 + 3  # <bot> is position 0
    assert first["tokens"][:-6] == [model.running_tokenizer.decode([token]) for token in ids]
    assert (first["tokens"][-7], first["tokens"][at]) == ("<bot>", "<thought 3>")
    torch.testing.assert_close(first["values"][at], float(latents[strongest, shelf.living]), rtol=1e-5, atol=1e-5)
    assert [value for place, value in enumerate(first["values"]) if place != at] == [0.0] * (len(ids) + 5)


def test_logits_are_those_of_plain_transformers(shelf) -> None:
    model = ci.load_model(shelf.model)
    sae = ci.load_sae(shelf.sae)
    (batch,) = neuronpedia_batches(ci.profile_features(sae, model, ci.load_problems(shelf.data)))
    for one in batch["features"][:4]:
        with torch.no_grad():
            logits = model.hf.lm_head(model.hf.model.norm(sae.W_dec[one["index"]]))
        torch.testing.assert_close(
            torch.tensor([found["value"] for found in one["topLogits"]]), logits.sort(descending=True).values[:10]
        )
        torch.testing.assert_close(
            torch.tensor([found["value"] for found in one["bottomLogits"]]), logits.sort().values[:10]
        )


def test_as_many_in_a_batch_as_the_client_takes() -> None:
    assert neuronpedia.MOST_FEATURES == MAX_FEATURES_PER_BATCH


@pytest.mark.parametrize(
    ("site", "source"),
    [
        (ci.Site(14, 3), "14-p3"),
        (ci.Site(2, 1, "mlp_out"), "2-p1-mlp-out"),
        (ci.Site(2, 1, "head:1"), "2-p1-head-1"),
        (ci.Site(None, 2, "thought"), "thought-p2"),
    ],
)
def test_names_are_parts_of_an_address(shelf, site: ci.Site, source: str) -> None:
    from dataclasses import replace

    profiles = ci.profile_features(shelf.sae, ci.load_model(shelf.model), ci.load_problems(shelf.data))
    assert default_source(replace(profiles, site=site, by_feature={})) == NeuronpediaSource("random", source)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--model-id", "a/b"), "'a/b' is no name on Neuronpedia"),
        (("--source-id", "<script>"), "'<script>' is no name on Neuronpedia"),
        (("--screen", "nowhere"), "nowhere does not exist"),
    ],
)
def test_what_is_refused_is_said_in_two_lines(run: Callable, shelf, tmp_path: Path, more: tuple, said: str) -> None:
    ran = run(*words(shelf, tmp_path / "np", *more))
    assert ran.code == 2
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 2
    assert not list(tmp_path.glob("np/neuronpedia*"))


def test_without_a_folder_there_is_nothing_to_write_to(run: Callable, shelf) -> None:
    ran = run("features", "export", "--model", shelf.model, "--data", shelf.data, "--sae", shelf.sae)
    assert (ran.code, ran.err.splitlines()[-1]) == (2, "Write --out and a folder.")
