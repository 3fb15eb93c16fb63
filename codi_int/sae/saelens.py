"""SAELens' objects, seen from here: telling one, reading one, making one. Nothing is imported from it until then.

`sae_lens` takes seconds to import and half of transformer-lens with it, so that an object is recognised by the names
of its classes' modules: where such an object exists, whoever made it has imported the package already.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from codi_int.errors import SAEError

PACKAGE = "sae_lens"


class Theirs(NamedTuple):
    """One of their SAEs in the words of their files."""

    config: dict[str, Any]
    """what `cfg.json` would hold"""
    weights: dict[str, Tensor]
    """what `sae_weights.safetensors` would hold; not copied"""


def is_theirs(given: object) -> bool:
    """Whether something is an SAE of SAELens, or of a class that was derived from one."""
    # by name, so that nothing of theirs is imported only to learn that this is no SAE of theirs
    return any(_from_package(kind) and kind.__name__ == "SAE" for kind in type(given).__mro__)


def read_theirs(given: Any) -> Theirs:
    """The config and weights of an SAE of SAELens.

    Raises:
        SAEError: a class of somebody's own, which may encode in any way it likes.
    """
    kind = type(given)
    if not _from_package(kind):
        raise SAEError(
            f"{kind.__name__} is derived from an SAE of SAELens and may encode in another way.",
            "Give one of SAELens' own classes, or an SAE of this package.",
        )
    # `SAE.half()` changes the weights and leaves `cfg.dtype`; the weights are what counts.
    config = {**given.cfg.to_dict(), "dtype": str(given.W_dec.dtype)}
    return Theirs(config, {name: tensor.detach() for name, tensor in given.state_dict().items()})


def build_theirs(config: Mapping[str, Any], weights: Mapping[str, Tensor], device: str) -> Any:
    """The SAE of SAELens with this config, in the words of `cfg.json`, and copies of these weights."""
    try:
        from sae_lens import SAE
    except ImportError as error:
        raise SAEError(f"sae_lens cannot be imported: {error}.", "pip install sae-lens.") from None
    kind = SAE.get_sae_class_for_architecture(config["architecture"])
    settings = SAE.get_sae_config_class_for_architecture(config["architecture"])
    theirs = kind(settings.from_dict({**config, "device": device}))
    # cloned, or training one of the two would change the other
    theirs.load_state_dict({name: tensor.detach().clone() for name, tensor in weights.items()})
    return theirs.requires_grad_(False)


def _from_package(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == PACKAGE
