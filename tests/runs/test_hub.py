"""push and pull against a hub on this machine: round trips with equal hashes, cards, and every refusal."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from hub_stand_in import READ_ONLY, Hub, taken_for_the_hub
from huggingface_hub import ModelCard, constants

import codi_int as ci
from codi_int.catalog import ASSETS
from codi_int.cli.main import main
from codi_int.runs.cards import run_card
from codi_int.runs.hub import pull, push
from codi_int.sae.store import load_sae, save_sae

SAE = "codi-mini/L14.P3"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub that the library takes for its own, with a token that may write."""
    with taken_for_the_hub(monkeypatch, tmp_path) as found:
        yield found


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Runs `codi-int` with some words."""

    def run_words(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["codi-int", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        code = stop.value.code
        return code if isinstance(code, int) else 1, out, err

    return run_words


def card_of(hub: Hub, name: str, kind: str = "models") -> str:
    return hub.files[kind, name]["README.md"].decode()


def test_an_sae_comes_back_as_it_went(hub: Hub, run: Callable, tmp_path: Path) -> None:
    code, out, err = run("push", SAE, "me/saes", "--license", "mit", "--json")
    assert code == 0, err
    sent, own = json.loads(out), load_sae(SAE)
    assert sent["sha256"] == {"L14.P3": own.sha256}
    assert set(hub.files["models", "me/saes"]) == {
        "README.md",
        "L14.P3/cfg.json",
        "L14.P3/sae_weights.safetensors",
    }
    assert "L14.P3/sae_weights.safetensors" in hub.by_lfs
    code, out, err = run("pull", "me/saes", "--out", str(tmp_path / "saes"), "--json")
    assert code == 0, err
    came = json.loads(out)
    assert (came["sha256"], came["revision"]) == (sent["sha256"], sent["revision"])
    back = load_sae(tmp_path / "saes" / "L14.P3")
    assert (back.sha256, back.site, back.config.provenance) == (own.sha256, own.site, own.config.provenance)
    # nothing of the download stays
    assert sorted(path.name for path in (tmp_path / "saes").iterdir()) == ["L14.P3", "README.md"]


def test_the_card_says_what_the_file_says_and_no_more(hub: Hub, tmp_path: Path) -> None:
    push(SAE, "me/saes", license="mit")
    card, measures = card_of(hub, "me/saes"), load_sae(SAE).config.provenance.measures
    head = yaml.safe_load(card.split("---")[1])
    assert (head["license"], head["library_name"]) == ("mit", "saelens")
    (row,) = [line for line in card.splitlines() if line.startswith("| L14.P3 ")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    share = f"{100 * measures['explained_variance']:.2f} %"
    assert cells == ["L14.P3", "L14.P3", "abstopk", "96", "512", "16", share, "17.77 %", "1,495"]
    unmeasured = load_sae(SAE)
    unmeasured.annotate(measures={}, model="a|b<script>")
    save_sae(unmeasured, tmp_path / "bare")
    push(tmp_path / "bare", "me/bare")
    card = card_of(hub, "me/bare")
    assert card.count("not measured") == 3
    assert "license" not in card
    assert "<script>" not in card


def test_saes_of_several_pushes_stand_on_one_card(hub: Hub, tmp_path: Path) -> None:
    push(SAE, "me/saes")
    second = push("codi-mini/L10.P5", "me/saes")
    assert second.sha256 == (("L10.P5", load_sae("codi-mini/L10.P5").sha256),)
    rows = [line.split("|")[1].strip() for line in card_of(hub, "me/saes").splitlines() if line.startswith("| L1")]
    assert rows == ["L10.P5", "L14.P3"]
    # a folder of them, as it lies
    pull("me/saes", tmp_path / "saes")
    assert [name for name, _ in push(tmp_path / "saes", "me/again").sha256] == ["L10.P5", "L14.P3"]


def test_a_card_that_somebody_wrote_stays(hub: Hub, run: Callable) -> None:
    push(SAE, "me/saes")
    hub.files["models", "me/saes"]["README.md"] = b"# mine"
    code, _, err = run("push", SAE, "me/saes")
    assert code == 0
    assert "README.md there was written by somebody, so it stays as it is" in err
    assert card_of(hub, "me/saes") == "# mine"


def test_a_model_is_loaded_by_its_hub_name(hub: Hub, tmp_path: Path) -> None:
    sent, own = push("codi-mini", "me/mini"), ci.load_model("codi-mini")
    assert sent.sha256 == (("model", own.sha256),)
    assert ci.load_model("me/mini").sha256 == own.sha256
    pull("me/mini", tmp_path / "mini")
    problems = ci.load_problems("stories:validation", limit=3)
    back = ci.load_model(tmp_path / "mini")
    assert [one.text for one in back.answer(problems)] == [one.text for one in own.answer(problems)]
    card = ModelCard(card_of(hub, "me/mini"))
    measured = json.loads(hub.files["models", "me/mini"]["card.json"])
    (found,) = card.data.eval_results
    assert (found.metric_value, found.dataset_name) == (measured["accuracy"], measured["data"])
    assert f"{100 * measured['accuracy']:.2f} % ({measured['n_correct']:,} of {measured['n']:,};" in card.text
    assert own.sha256 in card.text
    assert not any(name.startswith("sae/") for name in hub.files["models", "me/mini"])


def test_a_model_that_nobody_measured_has_no_number(hub: Hub, tmp_path: Path) -> None:
    shutil.copytree(ASSETS / "codi-mini", tmp_path / "model", ignore=shutil.ignore_patterns("card.json", "sae"))
    push(tmp_path / "model", "me/mini")
    card = ModelCard(card_of(hub, "me/mini"))
    assert card.data.eval_results is None
    assert "| accuracy | not measured |" in card.text


def test_a_run_goes_as_data(hub: Hub, tmp_path: Path) -> None:
    verdict = "Unresolved: fewer than 6 flips cannot reach p < 0.05."
    kept = tmp_path / "run"
    kept.mkdir()
    (kept / "result.json").write_text(json.dumps({"schema": "codi-int/result@2", "effect": {"verdict": verdict}}))
    (kept / "secret.txt").write_text("none of the run's")
    words = ["codi-int", "ablate", "--feature", "449"]
    manifest = {"schema": "codi-int/manifest@1", "command": words, "files": ["result.json"], "sha256": {}, "run": {}}
    (kept / "manifest.json").write_text(json.dumps(manifest))
    assert push(kept, "me/run").url.endswith("/datasets/me/run")
    assert set(hub.files["datasets", "me/run"]) == {"README.md", "manifest.json", "result.json"}
    assert "codi-int ablate --feature 449" in card_of(hub, "me/run", "datasets")
    came = pull("me/run", tmp_path / "back")
    assert came.kind == "run"
    assert (tmp_path / "back" / "result.json").read_text() == (kept / "result.json").read_text()
    assert f"> {verdict.replace('<', '&lt;')}" in run_card(kept, "", ["result.json"]).splitlines()
    (kept / "manifest.json").write_text(json.dumps({**manifest, "finished": False}))
    with pytest.raises(ci.CodiError, match="a run that did not end"):
        push(kept, "me/run")


def test_a_pull_goes_into_an_empty_folder_or_by_force(hub: Hub, run: Callable, tmp_path: Path) -> None:
    push(SAE, "me/saes")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("mine")
    code, _, err = run("pull", "me/saes", "--out", str(tmp_path / "there"))
    assert (code, len(err.strip().splitlines())) == (2, 2)
    assert "holds files already" in err
    assert run("pull", "me/saes", "--out", str(tmp_path / "there"), "--force")[0] == 0
    assert (tmp_path / "there" / "mine.txt").read_text() == "mine"


def test_an_older_commit_can_be_asked_for(hub: Hub, tmp_path: Path) -> None:
    sent = push(SAE, "me/saes")
    assert pull("me/saes", tmp_path / "saes", revision=sent.revision).revision == sent.revision


def test_weights_that_are_not_whole_are_not_sent_and_not_taken(hub: Hub, tmp_path: Path) -> None:
    push(SAE, "me/saes")
    pull("me/saes", tmp_path / "saes")
    weights = tmp_path / "saes" / "L14.P3" / "sae_weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    calls = len(hub.calls)
    with pytest.raises(ci.CodiError, match="truncated"):
        push(tmp_path / "saes", "me/broken")
    assert len(hub.calls) == calls
    hub.files["models", "me/saes"]["L14.P3/sae_weights.safetensors"] = weights.read_bytes()
    with pytest.raises(ci.CodiError, match="truncated"):
        pull("me/saes", tmp_path / "again")


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (("push", SAE, "saes"), "'saes' is no name of a repository"),
        (("push", SAE, "me/../you"), "'me/../you' is no name of a repository"),
        (("push", SAE, "me/x", "--license", "do as you like"), "license 'do as you like' must be one of"),
        (("push", "nowhere", "me/x"), "nowhere is no folder, no shipped model and no shipped SAE"),
        (("push", "EMPTY", "me/x"), "is neither a model nor an SAE nor a kept run"),
        (("pull", "me/nothing", "--out", "x"), "The hub has no repository me/nothing"),
        (("pull", "me/secret", "--out", "x"), "The hub has no repository me/secret"),
        (("pull", "saes", "--out", "x"), "'saes' is no name of a repository"),
        (("pull", "me/other", "--out", "x"), "me/other holds no model, SAE or run of this package"),
        (("pull", "me/evil", "--out", "x"), "me/evil names a file '../evil.json', outside its folder"),
        (("pull", "me/other", "--out", "x", "--revision", "no"), "me/other has no such revision"),
    ],
)
def test_what_is_refused_is_said_in_two_lines(
    hub: Hub, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], rule: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    hub.make("models", "me/other")
    hub.make("models", "me/evil")
    hub.commit("models", "me/other", {"model.onnx": b""})
    hub.commit("models", "me/evil", {"../evil.json": b"{}", "cfg.json": b"{}"})
    hub.make("models", "me/secret", private=True)
    if "me/secret" in words:
        monkeypatch.delenv("HF_TOKEN")
    code, out, err = run(*("empty" if word == "EMPTY" else word for word in words))
    assert (code, out, len(err.strip().splitlines())) == (2, "", 2), err
    assert rule in err
    assert not (tmp_path / "x").exists()
    assert not (tmp_path.parent / "evil.json").exists()


def test_without_a_token_nothing_is_asked_of_the_hub(hub: Hub, run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    code, _, err = run("push", SAE, "me/saes")
    assert code == 2
    assert err.splitlines()[-2:] == [
        "codi-int: There is no access token, and the hub takes nothing without one.",
        "Make one with write access on the hub's page of access tokens, then set HF_TOKEN or run: hf auth login",
    ]
    assert not hub.calls


def test_a_token_that_may_only_read_is_told(hub: Hub, run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", READ_ONLY)
    code, _, err = run("push", SAE, "me/saes")
    assert (code, len(err.strip().splitlines())) == (2, 2), err
    assert "The hub does not let this token write to me/saes (403)" in err
    assert READ_ONLY not in err


@pytest.mark.parametrize("words", [("push", SAE, "me/saes"), ("pull", "me/saes", "--out", "x")])
def test_a_network_that_refuses_is_told(
    hub: Hub, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    # a port that was free a moment ago and that nobody listens at
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    code, _, err = run(*words)
    assert (code, len(err.strip().splitlines())) == (2, 2), err
    assert "The hub at http://127.0.0.1:9 could not be reached (ConnectError)" in err
    assert not (tmp_path / "x").exists()
