"""The native format: what plain `transformers` loads as the language model, plus the projection and settings."""

from pathlib import Path
from typing import Any

from codi_int.errors import CheckpointError, ConfigError
from codi_int.files import explain_output_errors, read_text, replace_file
from codi_int.model.codi import CodiConfig, Projection

SETTINGS = "codi.json"
PROJECTION = "projection.safetensors"


def save_model(folder: Path | str, hf_model: Any, projection: Projection, config: CodiConfig, tokenizer: Any) -> None:
    """Write a model to `folder`: config.json, model.safetensors, tokenizer, codi.json and projection.safetensors.

    Raises:
        OutputError: the folder cannot be written to.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in projection.state_dict().items()}
    needs = sum(weights.nbytes for weights in hf_model.parameters())
    with explain_output_errors(folder, needs=needs, kept="What was written there is no model yet"):
        folder.mkdir(parents=True, exist_ok=True)
        # while these are missing the folder is no model: a save that is killed leaves no mixture of two
        (folder / SETTINGS).unlink(missing_ok=True)
        # transformers chooses its own file names, so these two are not moved into place as one
        hf_model.save_pretrained(str(folder))
        tokenizer.save_pretrained(str(folder))
    replace_file(folder / PROJECTION, lambda part: save_file(state, part), needs=sum(t.nbytes for t in state.values()))
    config.save(folder / SETTINGS)  # last: `is_native_format` looks for it


def is_native_format(folder: Path) -> bool:
    """Whether `folder` was written by `save_model`."""
    return (folder / SETTINGS).is_file()


def read_settings(folder: Path) -> CodiConfig:
    """The settings in a folder that `save_model` wrote; CheckpointError where they cannot be read."""
    text = read_text(folder / SETTINGS, error=CheckpointError, remedy="Save the model again.")
    try:
        return CodiConfig.from_json(text)
    except ConfigError as error:
        raise ConfigError(f"{folder / SETTINGS}: {error.rule}", error.remedy or "Save the model again.") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{folder / SETTINGS} cannot be read: {error}.", "Save the model again.") from error
