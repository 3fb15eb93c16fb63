"""Building the Hugging Face model and the projection from tensors, with every key accounted for."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codi_int.errors import CheckpointError, ConfigError
from codi_int.model.codi import Projection
from codi_int.model.light import LightConfig, LightLlama, light_config
from codi_int.model.tensors import read_json
from codi_int.model.tokens import PLAIN_CLASSES, LightTokenizer, read_light

CLASSES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "gpt2": "GPT2LMHeadModel"}
INPUT_TABLE = {
    "llama": "model.embed_tokens.weight",
    "qwen2": "model.embed_tokens.weight",
    "gpt2": "transformer.wte.weight",
}
HEAD = "lm_head.weight"
SHOWN = 4
"""how many keys an error names before it counts the rest"""


def torch_dtype(name: str) -> torch.dtype:
    """`"float32"`, `"bfloat16"` or `"float16"` as a torch type."""
    types = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in types:
        raise ConfigError(f"dtype {name!r} does not exist here.", f"Choose one of {', '.join(types)}.")
    return types[name]


def torch_device(name: str) -> torch.device:
    """A device that can be used; ConfigError where it cannot."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"Device {name!r} cannot be used here.", "Use 'cpu', or 'cuda' where one is set up."
        ) from error
    return device


def read_config(folder: Path) -> Any:
    """The architecture that `folder`'s config.json describes: light where it can be, else as `read_hf_config`."""
    try:
        light = light_config(read_json(folder / "config.json"), folder)
    except CheckpointError:  # a damaged file is left to transformers, so that there is one error for it
        light = None
    return light or read_hf_config(folder)


def read_hf_config(folder: Path) -> Any:
    """The architecture that `folder`'s config.json describes; CheckpointError where it is none that is supported."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a damaged config raises whatever its reader stumbles on
        raise CheckpointError(
            f"{folder / 'config.json'} describes no known architecture.", f"Supported: {', '.join(CLASSES)}."
        ) from error
    check_architecture(config, folder)
    return config


def check_architecture(config: Any, folder: Path) -> None:
    """CheckpointError where no block stack exists for this architecture."""
    if config.model_type not in CLASSES:
        raise CheckpointError(
            f"{folder} is a {config.model_type!r} model, which has no block stack here.",
            f"Supported: {', '.join(CLASSES)}.",
        )


def build_hf(config: Any, state: dict[str, Tensor], dtype: torch.dtype, source: Path) -> Any:
    """The Hugging Face model with exactly these weights, frozen and in evaluation mode.

    For a `LightConfig` it is the `LightLlama` that stands for one.

    Raises:
        CheckpointError: keys that are missing, unknown or misshapen, all of them named or counted.
    """
    table = INPUT_TABLE[config.model_type]
    _settle_tying(config, state, table)
    if config.num_hidden_layers > len(state):  # each has several tensors; making billions would never end
        raise CheckpointError(
            f"{source / 'config.json'} describes {config.num_hidden_layers} layers; there are {len(state)} tensors.",
            "Download the file again.",
        )
    hf = _light(config, source) if isinstance(config, LightConfig) else _empty_hf(config, source)
    check_keys({name: tensor.shape for name, tensor in hf.state_dict().items()}, state, source)
    # looked at after the cast: 70,000 is a number in float32 and inf in float16
    cast = {name: tensor.to(dtype) for name, tensor in state.items()}
    check_finite(cast, source)
    hf.load_state_dict(cast, strict=True, assign=True)
    # assign=True puts the file's tensors in place of the made ones and so unties what the constructor had tied
    if config.tie_word_embeddings:
        hf.lm_head.weight = hf.get_input_embeddings().weight
    return hf.requires_grad_(False).eval()


def _light(config: LightConfig, source: Path) -> LightLlama:
    # no memory for tensors that are replaced at once
    with _explain_building(source), torch.device("meta"):
        return LightLlama(config)


def _empty_hf(config: Any, source: Path) -> Any:
    """The Hugging Face model that a config describes, without weights."""
    import transformers

    with _explain_building(source), _without_init():
        return getattr(transformers, CLASSES[config.model_type])(config)


@contextmanager
def _explain_building(source: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # sizes that contradict each other fail anywhere inside the constructor
        raise CheckpointError(
            f"{source / 'config.json'} describes no model that can be built ({type(error).__name__}).",
            "Download the file again.",
        ) from error


def around_the_same(light: LightLlama) -> Any:
    """The real `LlamaForCausalLM` around the very tensors of a light one: what is done to either is done to both."""
    hf = _empty_hf(light.config.hugging_face(), light.config.folder)
    # without duplicates removed: tied tensors stand under each of their names
    for name, tensor in (*light.named_parameters(remove_duplicate=False), *light.named_buffers()):
        parent, _, leaf = name.rpartition(".")
        setattr(hf.get_submodule(parent), leaf, tensor)
    return hf.train(light.training)


def build_projection(state: Mapping[str, Tensor], d_model: int, dtype: torch.dtype, source: Path) -> Projection:
    """The projection with exactly these weights; its inner width and final norm are read off them."""
    if "1.weight" not in state or state["1.weight"].ndim != 2:
        raise CheckpointError(f"{source} has no projection: prj.1.weight is missing.", "This is no CODI checkpoint.")
    projection = Projection(d_model, state["1.weight"].shape[0], prj_no_ln=not any(k.startswith("ln.") for k in state))
    expected = {name: tensor.shape for name, tensor in projection.state_dict().items()}
    check_keys(expected, state, source, prefix="prj.")
    check_finite({name: tensor.to(dtype) for name, tensor in state.items()}, source, prefix="prj.")
    projection.load_state_dict(dict(state))
    return projection.to(dtype).requires_grad_(False).eval()


def check_keys(expected: Mapping[str, torch.Size], given: Mapping[str, Tensor], source: Path, prefix: str = "") -> None:
    """CheckpointError where the given tensors are not exactly the expected ones."""
    misshapen = [
        f"{prefix}{k} is {tuple(given[k].shape)}, not {tuple(expected[k])}"
        for k in expected
        if k in given and given[k].shape != expected[k]
    ]
    groups = {
        "missing": [prefix + k for k in expected if k not in given],
        "unknown": [prefix + k for k in given if k not in expected],
        "misshapen": misshapen,
    }
    if any(groups.values()):
        parts = [f"{len(keys)} {kind} ({shortened(keys)})" for kind, keys in groups.items() if keys]
        raise CheckpointError(
            f"The weights in {source} do not fit the model: {'; '.join(parts)}.",
            "Check that base model and checkpoint belong together and that the download is complete.",
        )


def check_finite(state: Mapping[str, Tensor], source: Path, prefix: str = "") -> None:
    """CheckpointError where a tensor, in the dtype in which it will be used, holds NaN or inf."""
    bad = [prefix + name for name, tensor in state.items() if not bool(tensor.isfinite().all())]
    if bad:
        raise CheckpointError(
            f"The weights in {source} hold NaN or inf: {shortened(bad)}.",
            "Download them again; where they are whole, load them with dtype='float32'.",
        )


def shortened(keys: list[str]) -> str:
    """The first few of some keys, and how many more there are."""
    rest = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + rest


def _settle_tying(config: Any, state: dict[str, Tensor], table: str) -> None:
    """Files drop one of two tied tensors: put it back, or note that the two are not tied after all."""
    if config.tie_word_embeddings and table not in state and HEAD in state:
        state[table] = state[HEAD]
    if table not in state:
        return
    if config.tie_word_embeddings and HEAD not in state:
        state[HEAD] = state[table]
    # configs lie about tying after training with more tokens; what the tensors hold is what was trained
    if HEAD in state:
        config.tie_word_embeddings = state[HEAD].shape == state[table].shape and _same(state[HEAD], state[table])


def _same(one: Tensor, other: Tensor) -> bool:
    return one is other or torch.equal(one, other)


@contextmanager
def _without_init() -> Iterator[None]:
    """Skip the random start weights, which would be overwritten at once."""
    from transformers.initialization import no_init_weights

    with no_init_weights():
        yield


def read_tokenizer(folder: Path, vocab_size: int) -> Any:
    """The tokenizer in `folder`: light where it can be, else as `load_tokenizer`."""
    light: LightTokenizer | None = read_light(folder)
    return light if light is not None and len(light) <= vocab_size else load_tokenizer(folder, vocab_size)


def load_tokenizer(folder: Path, vocab_size: int) -> Any:
    """The tokenizer in `folder`; CheckpointError where there is none or where it names ids that the model lacks."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # AutoTokenizer lets a Qwen2 config overrule a tokenizer that says it is complete as it stands, and splits it anew
    reader: Any = PreTrainedTokenizerFast if _tokenizer_class(folder) in PLAIN_CLASSES else AutoTokenizer
    try:
        tokenizer = reader.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # `tokenizers` raises bare Exceptions on damaged files
        raise CheckpointError(
            f"{folder} holds no tokenizer that can be read: {_tokenizer_files(folder)}.",
            "Put tokenizer.json and tokenizer_config.json there, as they were saved.",
        ) from error
    if len(tokenizer) > vocab_size:
        raise CheckpointError(
            f"The tokenizer in {folder} has {len(tokenizer)} tokens; the model has {vocab_size}.",
            "Use the tokenizer of the base model that the checkpoint was trained from.",
        )
    return tokenizer


def _tokenizer_class(folder: Path) -> str | None:
    """The class that a stored tokenizer was saved from."""
    path = folder / "tokenizer_config.json"
    complete = path.is_file() and (folder / "tokenizer.json").is_file()
    return read_json(path).get("tokenizer_class") if complete else None


def _tokenizer_files(folder: Path) -> str:
    """What an error says of a tokenizer's files: which is missing, or which are there and cannot be read."""
    names = ("tokenizer.json", "tokenizer_config.json")
    if missing := [name for name in names if not (folder / name).is_file()]:
        return f"{' and '.join(missing)} missing"
    return f"{' or '.join(names)} is damaged"
