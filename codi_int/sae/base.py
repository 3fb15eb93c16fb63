"""The one interface of every SAE: `encode` to sparse `Latents`, `decode` back, `forward` = both."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from codi_int.errors import SAEError
from codi_int.sae.config import SAEConfig, canonical_hook_name, hook_name_of
from codi_int.sae.formats import config_to_json
from codi_int.sae.kernels import decode_topk
from codi_int.sae.saelens import build_theirs
from codi_int.shown import Shown
from codi_int.types import Latents, Site


@runtime_checkable
class HostModel(Protocol):
    """What `check_fits` has to know of a model."""

    @property
    def d_model(self) -> int:
        """width of the residual stream"""

    @property
    def sha256(self) -> str:
        """hash of the weights"""


class SAE(Shown, nn.Module, ABC):
    """A sparse autoencoder with decoder rows `W_dec[f]`, one per feature.

    Subclasses add their encoder's parameters and `preactivations`/`encode`.
    """

    def __init__(self, config: SAEConfig) -> None:
        """All weights zero; training and the store fill them."""
        super().__init__()
        self.config = config
        self.asked_as: str | None = None  # what `load_sae` was asked for; no setting, so it is not in the config
        self.W_enc = nn.Parameter(torch.zeros(config.d_in, config.d_sae, dtype=config.torch_dtype))
        self.W_dec = nn.Parameter(torch.zeros(config.d_sae, self.d_out, dtype=config.torch_dtype))
        self.b_dec = nn.Parameter(torch.zeros(self.d_out, dtype=config.torch_dtype), requires_grad=config.decoder_bias)

    @property
    def d_in(self) -> int:
        """Width of the activations."""
        return self.config.d_in

    @property
    def d_out(self) -> int:
        """Width of the activations that it rebuilds: those that it reads, except for a transcoder."""
        return self.config.d_in if self.config.d_out is None else self.config.d_out

    @property
    def is_transcoder(self) -> bool:
        """Whether it rebuilds the activations of another site than the one it reads."""
        return self.config.d_out is not None

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.config.d_sae

    @property
    def site(self) -> Site | None:
        """The site it was trained on, where that is known."""
        return self.config.provenance.site

    @property
    def target(self) -> Site | None:
        """The site that a transcoder rebuilds, where that is known; None for an SAE."""
        return self.config.provenance.target

    @property
    def name(self) -> str:
        """What results call it: the name it was loaded by, else its model and site, else `unnamed`."""
        known = self.config.provenance
        place = known.site or known.hook_name
        return self.asked_as or (f"{known.model}/{place}" if known.model and place else "unnamed")

    @property
    def sha256(self) -> str:
        """Hash over the names, dtypes, shapes and bytes of all weights."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            # names, dtypes and shapes too, so that equal bytes cut up in another way hash differently
            digest.update(f"{name}|{tensor.dtype}|{list(tensor.shape)}|".encode())
            # viewed as bytes, since numpy has no bfloat16
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def annotate(self, **known: Any) -> None:
        """Add to what is known of where the SAE comes from: fields of `Provenance`."""
        self.config = replace(self.config, provenance=replace(self.config.provenance, **known))

    def to_saelens(self) -> Any:
        """A copy as SAELens' own object, which encodes and decodes alike; `sae_lens` is imported only here.

        Returns:
            a `sae_lens.SAE` on this SAE's device, with site, model and recipe under `cfg.metadata`.

        Raises:
            SAEError: SAELens is not installed, or does not know the architecture.
        """
        return build_theirs(config_to_json(self.config), self.state_dict(), str(self.W_dec.device))

    @abstractmethod
    def encode(self, x: Float[Tensor, "n d_in"]) -> Latents:
        """The features that fire on each row.

        Raises:
            SAEError: rows of another width.
        """

    def decode(self, latents: Latents | Float[Tensor, "n d_sae"]) -> Float[Tensor, "n d_out"]:
        """Activations rebuilt from sparse or dense latents, in the SAE's dtype."""
        d_sae = latents.d_sae if isinstance(latents, Latents) else latents.shape[-1]
        if d_sae != self.d_sae:
            raise SAEError(
                f"Latents with {d_sae} features were given to an SAE with {self.d_sae}.",
                "Decode with the SAE that encoded.",
            )
        if isinstance(latents, Latents):
            return decode_topk(latents.values.to(self.W_dec.dtype), latents.indices, self.W_dec, self.b_dec)
        return torch.addmm(self.b_dec, latents.to(self.W_dec.dtype), self.W_dec)

    def forward(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_out"]:
        """The reconstruction of x; of a transcoder, what it makes of x for its other site."""
        return self.decode(self.encode(x))

    def encoder_input(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_in"]:
        """x in the SAE's dtype, less the decoder bias where the SAE subtracts it; SAEError for another width."""
        if x.shape[-1] != self.d_in:
            raise SAEError(
                f"The SAE takes activations of width {self.d_in}, not {x.shape[-1]}.",
                "Use an SAE that was trained on this model and site.",
            )
        x = x.to(self.W_enc.dtype)
        return x - self.b_dec if self.config.apply_b_dec_to_input else x


def sparsify(dense: Float[Tensor, "n d_sae"]) -> Latents:
    """Dense activations as `Latents` with as many columns as the fullest row has non-zero entries."""
    # A stable descending sort of 0 and 1 puts the features that fire first, in ascending order. Rows with fewer than
    # `width` are filled with features that do not fire, whose value 0 adds nothing.
    fires: Bool[Tensor, "n d_sae"] = dense != 0
    width = int(fires.sum(dim=1).max()) if dense.shape[0] else 0
    indices = fires.to(torch.uint8).sort(dim=1, descending=True, stable=True).indices[:, :width]
    return Latents(dense.gather(1, indices), indices, dense.shape[1])


def check_fits(sae: SAE, model: HostModel, site: Site) -> None:
    """SAEError unless `sae` can be used at `site` of `model`.

    Whatever the SAE's provenance leaves unknown is taken on trust; the width never is.
    """
    known = sae.config.provenance
    if sae.is_transcoder:
        raise SAEError(
            f"{sae.name} is a transcoder: it reads {known.site or 'a site'} and rebuilds {known.target or 'another'}.",
            "Take an SAE, which rebuilds what it reads; codi-int sae eval measures transcoders.",
        )
    check_host(sae, model)
    if known.site is not None and known.site != site:
        raise SAEError(f"The SAE was trained at {known.site}, not at {site}.", f"Use it at {known.site}.")
    # SAEs of SAELens name a hook instead of a site: a layer is known then, a position is not
    hook_name = hook_name_of(site)
    if known.site is None and known.hook_name is not None and canonical_hook_name(known.hook_name) != hook_name:
        raise SAEError(
            f"The SAE was trained at {known.hook_name}, not at {hook_name}.", f"Use it at {known.hook_name}."
        )


def check_host(sae: SAE, model: HostModel) -> None:
    """SAEError unless `sae` has the model's width and, where its provenance names one, is that model's own."""
    known = sae.config.provenance
    if sae.d_in != model.d_model:
        raise SAEError(
            f"The SAE was trained on activations of width {sae.d_in}; the model's d_model is {model.d_model}.",
            "Use an SAE that was trained on this model.",
        )
    if known.model_sha256 is not None and known.model_sha256 != model.sha256:
        raise SAEError(
            f"The SAE belongs to model {known.model or '?'} ({known.model_sha256[:12]}), not to {model.sha256[:12]}.",
            "Load the model that the SAE was trained on, or train an SAE on this one.",
        )
