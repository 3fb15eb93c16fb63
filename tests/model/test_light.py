"""The light modules that stand for Hugging Face's, and the real ones that take their place."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import codi_int as ci
from codi_int.errors import CheckpointError
from codi_int.model import building
from codi_int.model.building import around_the_same, load_tokenizer, read_config, read_hf_config, read_tokenizer
from codi_int.model.light import LightConfig, LightLlama, light_config
from codi_int.model.loading import ASSETS
from codi_int.model.store import save_model
from codi_int.model.tokens import LightTokenizer, read_light
from codi_int.model.weights import hash_weights

MINI = ASSETS / "codi-mini"
SHA256 = "abe748d574928ea26b2847a0038d0798238c222183de00ac96c885c8fd92cb83"
QUESTIONS = [problem.question for problem in ci.load_problems("stories:validation", limit=60)]


def stored() -> dict:
    return json.loads((MINI / "config.json").read_text())


@pytest.fixture
def mini():
    return ci.load_model("codi-mini")


@pytest.fixture
def folder(make_model, tmp_path) -> Path:
    """A tiny Llama with untied embeddings and grouped heads, in the native format."""
    model = make_model("llama")
    save_model(tmp_path / "own", model.hf, model.projection, model.config, model.tokenizer)
    return tmp_path / "own"


def test_a_command_imports_no_model_class_of_transformers():
    words = ["codi-int", "ablate", "--feature", "449", "--layer", "14", "--limit", "8", "--controls", "2", "--json"]
    code = f"""
import sys
sys.argv = {words}
from codi_int.cli.main import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
heavy = [name for name in ("transformers", "sae_lens", "transformer_lens", "pandas", "matplotlib", "statsmodels",
    "sklearn", "huggingface_hub") if name in sys.modules]
assert not heavy, heavy
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["environment"]["model_sha256"] == SHA256


def test_before_the_clean_pass_no_statistics_are_imported():
    code = """
import sys
import codi_int as ci
model, problems = ci.load_model("codi-mini"), ci.load_problems("stories:validation", limit=4)
ci.FeatureInterventionEngine(model, {ci.Site(14, 3): ci.load_sae("codi-mini/L14.P3")})
from codi_int.cli import _intervene
heavy = [name for name in ("scipy.stats", "scipy.optimize", "pyarrow", "triton", "transformers") if name in sys.modules]
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_tree_is_hugging_faces_name_by_name(mini):
    light = mini.stack.hf
    assert isinstance(light, LightLlama)
    modules, tensors = named(light)
    hf = mini.hf
    assert type(hf).__name__ == "LlamaForCausalLM"
    assert named(hf)[0] == modules
    for name, tensor in named(hf)[1].items():
        assert tensor is tensors[name], name
    assert set(tensors) == set(named(hf)[1])
    assert hf.lm_head.weight is hf.model.embed_tokens.weight


def named(root) -> tuple[list[str], dict]:
    parameters = dict(root.named_parameters(remove_duplicate=False))
    return [name for name, _ in root.named_modules()], parameters | dict(root.named_buffers())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_bits_before_and_after(dtype):
    problems = ci.load_problems("stories:validation", limit=12)
    model = ci.load_model("codi-mini", dtype=dtype)
    assert isinstance(model.stack.hf, LightLlama)
    light = model.think(problems, capture="all", answers=True)
    key, stack = model.state_key(), model.stack
    assert model.hf.config.model_type == "llama"
    assert model.stack is stack
    assert model.stack.hf is model.hf
    assert model.state_key() == key
    real = model.think(problems, capture="all", answers=True)
    assert torch.equal(light.residuals, real.residuals)
    assert torch.equal(light.thoughts, real.thoughts)
    assert light.completions == real.completions
    assert model.sha256 == SHA256


def test_a_tiny_one_of_another_shape_too(folder, problems):
    model = ci.load_model(folder)
    assert isinstance(model.stack.hf, LightLlama)
    light, sha256 = model.think(problems, capture="all", answers=True), model.sha256
    real = ci.load_model(folder)
    assert hash_weights(real.hf, real.projection) == sha256
    found = real.think(problems, capture="all", answers=True)
    assert torch.equal(light.residuals, found.residuals)
    assert light.completions == found.completions


def test_what_hugging_face_computes_from_it_is_what_a_loaded_one_computes(mini):
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(MINI)
    ids = torch.tensor([mini.encode_question(ci.load_problems("stories:validation", limit=1)[0])])
    assert torch.equal(mini.hf(ids).logits, plain(ids).logits)
    assert mini.hf.config.to_dict() == read_hf_config(MINI).to_dict()
    assert not any(parameter.requires_grad for parameter in mini.hf.parameters())
    assert not mini.hf.training


def test_changes_are_seen_whichever_comes_first(mini):
    problems = ci.load_problems("stories:validation", limit=3)
    clean = mini.think(problems).thoughts
    weight = mini.hf.model.layers[3].mlp.down_proj.weight
    with torch.no_grad():
        weight.mul_(2)
    assert mini.sha256 != SHA256
    assert not torch.equal(mini.think(problems).thoughts, clean)
    with torch.no_grad():
        weight.div_(2)
    assert mini.sha256 == SHA256
    # another module in the place of one, and a torch hook, which only the modules that run can have
    mini.hf.model.layers[3].mlp = torch.nn.Identity()
    assert not torch.equal(mini.think(problems).thoughts, clean)


def test_a_hook_on_a_real_module_fires(mini):
    seen, key = [], mini.state_key()
    mini.hf.model.layers[2].mlp.register_forward_hook(lambda *_: seen.append(1))
    assert mini.state_key() != key
    mini.think(ci.load_problems("stories:validation", limit=1))
    assert len(seen) == 7


def test_weights_changed_before_it_is_asked_for_stay_changed(mini):
    with torch.no_grad():
        mini.stack.token_embedding().weight[5] += 1
    changed, key = mini.sha256, mini.state_key()
    assert changed != SHA256
    assert float((mini.hf.model.embed_tokens.weight - ci.load_model("codi-mini").hf.lm_head.weight).abs().max()) == 1
    assert (mini.sha256, mini.state_key()) == (changed, key)


def test_a_copy_is_a_model_of_its_own(mini):
    other = copy.deepcopy(mini)
    with torch.no_grad():
        other.hf.model.norm.weight.zero_()
    assert mini.sha256 == SHA256
    assert other.sha256 != SHA256
    assert float(mini.hf.model.norm.weight.abs().max()) > 0


def test_torchs_generator_is_left_as_the_ordinary_way_leaves_it(monkeypatch):
    drawn = []
    for way in (light_config, lambda *_: None):
        monkeypatch.setattr(building, "light_config", way)
        torch.manual_seed(3)
        model = ci.load_model("codi-mini")
        drawn.append((type(model.stack.hf).__name__, torch.rand(1)))
        assert isinstance(model.hf, torch.nn.Module)
        drawn.append((type(model.stack.hf).__name__, torch.rand(1)))
    assert [name for name, _ in drawn] == ["LightLlama"] + 3 * ["LlamaForCausalLM"]
    assert torch.equal(drawn[0][1], drawn[2][1])
    assert torch.equal(drawn[1][1], drawn[3][1])


UNKNOWN = {
    "another architecture": {"model_type": "qwen2"},
    "another activation": {"hidden_act": "gelu"},
    "biases": {"attention_bias": True},
    "another rotary embedding": {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}},
    "a part of the head is turned": {
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}
    },
    "a setting that is not known": {"sliding_window": 5},
    "a size that is no number": {"hidden_size": "96"},
    "a size that is a truth": {"vocab_size": True},
    "heads that do not divide the width": {"num_attention_heads": 5},
    "no layers": {"num_hidden_layers": 0},
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_is_left_to_transformers(name):
    assert light_config(stored(), MINI) is not None
    assert light_config({**stored(), **UNKNOWN[name]}, MINI) is None


def test_a_setting_that_is_missing_is_left_to_transformers():
    for name in ("rms_norm_eps", "head_dim", "rope_parameters", "hidden_act", "tie_word_embeddings"):
        assert light_config({key: value for key, value in stored().items() if key != name}, MINI) is None


def test_a_damaged_config_has_the_error_that_it_always_had(folder):
    assert isinstance(read_config(folder), LightConfig)
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="describes no known architecture"):
        ci.load_model(folder)


def test_weights_that_do_not_fit_have_the_error_that_they_always_had(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 5}))
    assert isinstance(read_config(folder), LightConfig)
    with pytest.raises(CheckpointError, match=r"9 missing \(model\.layers\.4\."):
        ci.load_model(folder)


def test_the_tokenizer_reads_and_writes_as_transformers_does():
    light, real = read_tokenizer(MINI, 226), load_tokenizer(MINI, 226)
    assert isinstance(light, LightTokenizer)
    assert len(light) == len(real) == 226
    texts = [*QUESTIONS, "", "Tom has <bot> 3 unknownword <eos>", "  two  blanks\n and 12+3=<<12+3=15>>15"]
    rows = [light(text)["input_ids"] for text in texts]
    assert rows == [real(text)["input_ids"] for text in texts]
    assert light.unk_token_id == real.unk_token_id
    assert light.is_fast == real.is_fast
    assert [light.decode([i]) for i in range(226)] == [real.decode([i]) for i in range(226)]
    for offsets in (True, False):
        assert light(texts, return_offsets_mapping=offsets) == {
            name: found
            for name, found in real(texts, return_offsets_mapping=offsets).items()
            if name in ("input_ids", "offset_mapping")
        }
    for skip in (True, False):
        assert light.batch_decode(rows, skip) == real.batch_decode(rows, skip_special_tokens=skip)


def test_the_real_tokenizer_takes_its_place(mini):
    problem = ci.load_problems("stories:validation", limit=1)[0]
    ids = mini.encode_question(problem)
    assert type(mini.tokenizer).__name__ == "TokenizersBackend"
    assert mini.tokenizer is mini.tokenizer
    assert mini.encode_question(problem) == ids
    # a token that is made known to it is known to the model
    before = mini.token_ids("flamingo")
    mini.tokenizer.add_tokens(["flamingo"])
    assert mini.token_ids("flamingo") != before


TOKENIZERS = {
    "a class of its own": ("tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer"}),
    "spaces are cleaned up": ("tokenizer_config.json", {"clean_up_tokenization_spaces": True}),
    "a setting that is not known": ("tokenizer_config.json", {"add_bos_token": False}),
    "a special token that is not there yet": ("tokenizer_config.json", {"extra_special_tokens": ["<new>"]}),
    "texts are cut": ("tokenizer.json", {"truncation": {"max_length": 5}}),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_what_transformers_would_add_to_is_left_to_it(folder, name):
    file, change = TOKENIZERS[name]
    assert isinstance(read_light(folder), LightTokenizer)
    raw = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**raw, **change}))
    assert read_light(folder) is None


def test_other_files_of_a_tokenizer_and_damaged_ones_are_left_to_transformers(folder):
    (folder / "special_tokens_map.json").write_text("{}")
    assert read_light(folder) is None
    (folder / "special_tokens_map.json").unlink()
    (folder / "tokenizer.json").write_text("{")
    assert read_light(folder) is None
    with pytest.raises(CheckpointError, match="holds no tokenizer that can be read"):
        ci.load_model(folder)


def test_a_light_model_made_real_keeps_its_mode():
    light = ci.load_model("codi-mini").stack.hf
    assert around_the_same(light.train()).training
