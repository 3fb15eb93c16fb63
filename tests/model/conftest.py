"""Tiny random models of each family, problems for them, and the plain loop that all of them are measured against."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

N_THOUGHTS = 6
SHARED = Path(__file__).parents[2].parent / "shared"


@dataclass(frozen=True)
class Plain:
    """What the plain loop saw for one question."""

    hidden_states: Tensor
    """[positions, n_layers + 1, d_model]: HF's hidden_states at the last token; the last one is after the final norm"""
    thoughts: Tensor
    """[n_thoughts, d_model]"""
    ids: tuple[int, ...]
    """greedy ids, up to and without the end token"""
    logits: Tensor
    """[steps, vocab] of every choice"""


@torch.no_grad()
def run_plain(model: Any, ids: list[int], max_new_tokens: int, stop: bool = True) -> Plain:
    """CODI as its paper says it, for one question, with Hugging Face's own forward and nothing of ours."""
    from transformers import DynamicCache

    hf, config = model.hf, model.config
    cache = DynamicCache(config=hf.config)
    out = hf(torch.tensor([ids]), past_key_values=cache, use_cache=True, output_hidden_states=True)
    states = [torch.stack([h[0, -1] for h in out.hidden_states])]
    thoughts = []
    for _ in range(config.n_thoughts):
        thoughts.append(model.projection(out.hidden_states[-1][:, -1:]))
        out = hf(inputs_embeds=thoughts[-1], past_key_values=cache, use_cache=True, output_hidden_states=True)
        states.append(torch.stack([h[0, -1] for h in out.hidden_states]))
    written, logits = [], []
    tokens = [config.eot_id] if config.remove_eos else [config.eot_id, config.eos_id]
    for _ in range(max_new_tokens):
        out = hf(torch.tensor([tokens]), past_key_values=cache, use_cache=True)
        row = out.logits[0, -1]
        logits.append(row[:-1] if config.suppress_last_id else row)
        choice = int(logits[-1].argmax())
        if stop and choice == config.eos_id:
            break
        written.append(choice)
        tokens = [choice]
    return Plain(torch.stack(states), torch.cat(thoughts)[:, 0], tuple(written), torch.stack(logits))


def make_hf(kind: str, vocab_size: int) -> Any:
    """A tiny random language model whose layers all matter (weights larger than usual)."""
    import transformers as t

    common = {"vocab_size": vocab_size, "bos_token_id": 2, "eos_token_id": 3, "initializer_range": 0.12}
    if kind == "gpt2":
        config: Any = t.GPT2Config(n_embd=32, n_layer=4, n_head=4, n_positions=160, **common)
        return t.GPT2LMHeadModel(config).eval()
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4}
    shape = {**common, **sizes, "num_key_value_heads": 2, "max_position_embeddings": 160, "tie_word_embeddings": False}
    if kind == "qwen2":
        return t.Qwen2ForCausalLM(t.Qwen2Config(**shape)).eval()
    return t.LlamaForCausalLM(t.LlamaConfig(**shape)).eval()


@pytest.fixture(scope="session")
def plain() -> Callable[..., Plain]:
    return run_plain


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    from codi_int.data.story_tokenizer import build_tokenizer

    return build_tokenizer()


@pytest.fixture(scope="session")
def make_model(tokenizer: Any) -> Callable[..., Any]:
    """make_model(kind, **settings) -> a tiny random CodiModel."""
    from codi_int.model.codi import CodiConfig, Projection
    from codi_int.model.hooked import CodiModel

    def make(kind: str = "llama", seed: int = 0, **settings: Any) -> CodiModel:
        torch.manual_seed(seed)
        hf = make_hf(kind, len(tokenizer))
        bot, eot = tokenizer.convert_tokens_to_ids(["<bot>", "<eot>"])
        values = {"pad_id": 0, "bot_id": bot, "eot_id": eot, "eos_id": 3, "prj_dim": 24, "max_new_tokens": 7}
        config = CodiConfig(**{**values, "name": f"tiny-{kind}", **settings})
        projection = Projection(32, 24, config.prj_no_ln).requires_grad_(False).eval()
        return CodiModel(hf.requires_grad_(False), projection, config, tokenizer)

    return make


@pytest.fixture(scope="session", params=["llama", "gpt2", "qwen2"])
def model(request: pytest.FixtureRequest, make_model: Callable[..., Any]) -> Any:
    return make_model(request.param)


@pytest.fixture(scope="session")
def llama(make_model: Callable[..., Any]) -> Any:
    return make_model("llama")


@pytest.fixture(scope="session")
def problems() -> list[Any]:
    """Seven problems with questions of three lengths, in no order."""
    from codi_int.types import Problem

    names = ["Tom", "Ann", "Bob", "Eva", "Max", "Leo", "Mia"]
    texts = [f"{name} has {7 * i + 3} apples" + " and 5 more" * (i * 2 % 3) + "." for i, name in enumerate(names)]
    return [Problem(f"p{i}", text, i, ()) for i, text in enumerate(texts)]


@pytest.fixture(scope="session", params=["llama", "gpt2"])
def golden(request: pytest.FixtureRequest) -> Any:
    """The folder of a golden checkpoint, which holds the official code's own numbers."""
    folder = SHARED / "golden" / f"codi-{request.param}-tiny"
    if not folder.is_dir():
        pytest.skip("the golden checkpoints are not here")
    return folder


@dataclass(frozen=True)
class OfficialCheckpoint:
    """A checkpoint in the official layout, and the same model run without merging its LoRA."""

    folder: Path
    """the checkpoint's files"""
    base: Path
    """the base model's config and tokenizer"""
    state: dict[str, Tensor]
    """what is in the files"""
    unmerged: Any
    """.hf, .projection and .config for the plain loop; LoRA is added by torch hooks, layer by layer"""


LORA_TARGETS = {
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "gpt2": ["c_attn", "c_fc", "c_proj"],
}


def add_lora(hf: Any, kind: str, rank: int, alpha: float) -> dict[str, Tensor]:
    """Hang random LoRA factors on a model with torch's own hooks; returns the official state dict of both."""
    prefix, state = "codi.base_model.model.", {}
    adapted = {n: m for n, m in hf.named_modules() if n.split(".")[-1] in LORA_TARGETS[kind]}
    for name, tensor in hf.state_dict().items():
        if name == "lm_head.weight" and hf.config.tie_word_embeddings:
            continue
        module, leaf = name.rsplit(".", 1)
        state[f"{prefix}{module}.base_layer.{leaf}" if module in adapted else prefix + name] = tensor.clone()
    for name, module in adapted.items():
        shape = module.weight.shape if kind == "llama" else module.weight.shape[::-1]
        down, up = torch.randn(rank, shape[1]) * 0.1, torch.randn(shape[0], rank) * 0.1
        state[f"{prefix}{name}.lora_A.default.weight"], state[f"{prefix}{name}.lora_B.default.weight"] = down, up

        def forward(_: Any, args: Any, out: Tensor, a: Tensor = down, b: Tensor = up) -> Tensor:
            return out + alpha / rank * (args[0] @ a.T @ b.T)

        module.register_forward_hook(forward)
    return state


@pytest.fixture(scope="session")
def words() -> Any:
    """A base model's tokenizer: forty words, no special token of CODI's."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate(["<unk>", "</s>", *(f"w{n}" for n in range(38))])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", unk_token="<unk>")


@pytest.fixture
def make_official(tmp_path: Path, words: Any) -> Callable[..., OfficialCheckpoint]:
    """make_official(kind, alpha=16, tied=True, no_ln=False) -> an official checkpoint with weights of all kinds."""
    from types import SimpleNamespace

    from safetensors.torch import save_file

    from codi_int.model.codi import CodiConfig, Projection

    def make(kind: str = "llama", alpha: float = 16.0, tied: bool = True, no_ln: bool = False) -> OfficialCheckpoint:
        torch.manual_seed(1)
        folder, base = tmp_path / "checkpoint", tmp_path / "base"
        folder.mkdir()
        small = make_hf(kind, 40)
        small.config.tie_word_embeddings = tied
        small.config.save_pretrained(base)
        words.save_pretrained(base)
        hf = type(small)(small.config.__class__(**{**small.config.to_dict(), "vocab_size": 43})).eval()
        projection = Projection(32, 20, no_ln).eval()
        state = add_lora(hf, kind, rank=4, alpha=alpha)
        state |= {f"prj.{name}": tensor for name, tensor in projection.state_dict().items()}
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "model.safetensors")
        ids = {"pad_id": 40, "bot_id": 41, "eot_id": 42, "eos_id": 1, "prj_dim": 20}
        config = CodiConfig(**ids, suppress_last_id=True, prj_no_ln=no_ln)
        return OfficialCheckpoint(folder, base, state, SimpleNamespace(hf=hf, projection=projection, config=config))

    return make
