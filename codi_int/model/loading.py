"""The one entry point for models: a shipped name, a folder, or a hub name."""

from collections.abc import Sequence
from pathlib import Path

from codi_int.catalog import ASSETS, shipped_models
from codi_int.errors import CheckpointError, ConfigError
from codi_int.model.building import torch_device, torch_dtype
from codi_int.model.hooked import CodiModel
from codi_int.model.native import load_native
from codi_int.model.official import OfficialSettings, has_architecture, load_official
from codi_int.model.presets import preset_for
from codi_int.model.store import is_native_format

CHECKPOINT_FILES = ("*.safetensors", "pytorch_model*.bin", "*.json", "tokenizer*")
BASE_FILES = ("*.json", "tokenizer*", "vocab*", "merges*")


def load_model(
    name_or_folder: str | Path,
    base: str | Path | None = None,
    lora_alpha: int | float | None = None,
    remove_eos: bool | None = None,
    n_thoughts: int | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    reinitialize: int | None = None,
) -> CodiModel:
    """Load a CODI model.

    Args:
        name_or_folder: a shipped model ("codi-mini"), a folder in the native or official layout, or a hub name.
        base: folder or hub name of the base model, for official checkpoints; default as the preset knows.
        lora_alpha: LoRA's alpha, which no file tells; default as the preset knows, 32 for unknown checkpoints.
        remove_eos: whether no eos stands before <bot> and after <eot>; default as the preset knows, else True.
        n_thoughts: number of thoughts; default as the model's own settings or the preset know, else 6. A model in the
            native format that was trained with another number has this one added to its name.
        device: "cpu", "cuda", ...
        dtype: "float32", "bfloat16" or "float16"; LoRA is merged in float32 before.
        reinitialize: a seed, to draw all weights anew by the classes' own initialisation: the same architecture and
            tokenizer, and nothing learned. A control; its name says so, and its hash is its own.

    Raises:
        CheckpointError: the model cannot be found or loaded whole.
        ConfigError: a device or dtype that does not exist here, a seed that is none.
    """
    if reinitialize is not None:
        from codi_int.model.reinitialize import check_seed
        from codi_int.model.reinitialize import reinitialize as draw_anew

        # before the model is loaded, which takes longer
        seed = check_seed(reinitialize)
        model = load_model(
            name_or_folder,
            base=base,
            lora_alpha=lora_alpha,
            remove_eos=remove_eos,
            n_thoughts=n_thoughts,
            device=device,
            dtype=dtype,
        )
        return draw_anew(model, seed)
    where, kind = torch_device(device), torch_dtype(dtype)
    folder = find_folder(name_or_folder, CHECKPOINT_FILES)
    if is_native_format(folder):
        given = {"base": base, "lora_alpha": lora_alpha, "remove_eos": remove_eos}
        if used := [name for name, value in given.items() if value is not None]:
            raise ConfigError(f"{folder} says {', '.join(used)} itself: it is in the native format.", "Leave them out.")
        return load_native(folder, where, kind, n_thoughts)
    preset = preset_for(str(name_or_folder))
    base = preset.base if base is None and _needs_base(folder) else base
    base_folder = None if base is None else find_folder(base, BASE_FILES)
    settings = OfficialSettings(base_folder, lora_alpha, remove_eos, n_thoughts)
    return load_official(
        folder,
        name=str(name_or_folder),
        settings=settings,
        preset=preset,
        device=where,
        dtype=kind,
    )


def find_folder(name_or_folder: str | Path, patterns: Sequence[str]) -> Path:
    """The folder that a name means: shipped, local, or fetched from the hub (only files that fit `patterns`)."""
    shipped = ASSETS / str(name_or_folder)
    if isinstance(name_or_folder, str) and (shipped / "config.json").is_file():
        return shipped
    folder = Path(name_or_folder).expanduser()
    if folder.is_dir():
        return folder
    name = str(name_or_folder)
    if isinstance(name_or_folder, Path) or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(
            f"{name} is no folder and no model of ours (shipped: {', '.join(shipped_models()) or 'none'}).",
            "Give a folder, a shipped name, or a hub name such as zen-E/CODI-gpt2.",
        )
    return _from_hub(name, patterns)


def _from_hub(name: str, patterns: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"{name} is no folder here, and the hub could not give it ({type(error).__name__}).",
            f"Download {', '.join(patterns)} from https://huggingface.co/{name} into a folder, and give that folder.",
        ) from error


def _needs_base(folder: Path) -> bool:
    """Whether a checkpoint does not say by itself what it was trained from, or lacks a tokenizer."""
    return not (has_architecture(folder) and (folder / "tokenizer.json").is_file())
