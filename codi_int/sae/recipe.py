"""The settings of a training run: frozen records, validated once, kept with the SAE as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from codi_int.errors import ConfigError
from codi_int.sae.config import RULES, check_choice, check_count, check_k, check_positive

TRAINABLE = ("topk", "batchtopk", "matryoshka", "jumprelu", "gated", "standard", "transcoder")
TAKES_K = ("topk", "batchtopk", "matryoshka", "transcoder")
BIAS_INITS = ("linear", "zero", "mean")
DECODER_NORMS = ("init", "unit")
PRODUCTS = ("float32", "bfloat16")
FREEZE = ("none", "decoder", "encoder", "all")
ENCODER = ("W_enc", "b_enc", "b_gate", "b_mag")
"""an encoder's weights; thresholds and the magnitudes' scale of `gated` are trained all the same: they say how many
features fire, not which way they look"""


@dataclass(frozen=True)
class AuxK:
    """The auxiliary loss that lets dead features rebuild the residual (Gao et al. 2024, A.2)."""

    coefficient: float = 1 / 32
    """its weight beside the mean squared error"""
    k: int | None = None
    """dead features used per row; None: half of d_in"""
    dead_after: int = 1000
    """steps without firing after which a feature counts as dead"""

    def __post_init__(self) -> None:
        check_positive("coefficient", self.coefficient)
        check_count("dead_after", self.dead_after)
        if self.k is not None:
            check_count("aux k", self.k)


@dataclass(frozen=True)
class Anneal:
    """k that changes while training: from `k_start` to the recipe's k in equal steps."""

    k_start: int
    """k of the first epoch"""
    epochs: int = 10
    """epochs until the recipe's k is reached"""

    def __post_init__(self) -> None:
        check_count("k_start", self.k_start)
        check_count("epochs", self.epochs)


@dataclass(frozen=True)
class Sparsity:
    """The penalty of `standard`, `gated` and `jumprelu`, beside the squared error summed over d_in."""

    coefficient: float = 1.0
    """weight of the penalty: L1 for `standard` and `gated`, L0 for `jumprelu`"""
    warmup_steps: int = 0
    """steps over which the weight rises from 0"""
    target_l0: float | None = None
    """`jumprelu` only: penalise the distance to this L0, as Gemma Scope 2 does, not L0 itself"""
    bandwidth: float = 0.05
    """`jumprelu` only: width of the straight-through estimator"""
    threshold: float = 0.01
    """`jumprelu` only: threshold at the start"""

    def __post_init__(self) -> None:
        check_positive("coefficient", self.coefficient)
        check_positive("bandwidth", self.bandwidth)
        check_positive("threshold", self.threshold)
        check_count("warmup_steps", self.warmup_steps, least=0)
        if self.target_l0 is not None:
            check_positive("target_l0", self.target_l0)


@dataclass(frozen=True)
class SAETrainingConfig:
    """Settings of one training run; the defaults are the published recipe.

    Raises:
        ConfigError: a setting out of its range, or one that the architecture does not take.
    """

    d_sae: int
    """number of features"""
    k: int | None = None
    """features kept per row (on average for `batchtopk` and `transcoder`; at the end, where k is annealed)"""
    architecture: str = "topk"
    """one of `TRAINABLE`"""
    rule: str = "abs"
    """`abs` keeps the largest magnitudes (published), `relu` the largest values; `topk` and `matryoshka` only"""
    epochs: int = 25
    """passes over the rows"""
    batch_size: int = 256
    """rows per step; the last batch of an epoch may be smaller"""
    learning_rate: float = 1e-3
    """of Adam"""
    seed: int = 0
    """of the initial weights and of the order of rows"""
    decoder_norm: str = "init"
    """`init`: decoder rows have unit norm at the start only (published); `unit`: after every step"""
    decoder_bias: bool = True
    """whether the decoder has a bias"""
    bias_init: str = "linear"
    """decoder bias at the start: `linear` like nn.Linear (published), `zero`, or the `mean` activation"""
    tied_init: bool = False
    """whether the encoder starts as the decoder's transpose (published: no)"""
    apply_b_dec_to_input: bool = False
    """whether the decoder bias is subtracted before encoding"""
    widths: tuple[int, ...] = ()
    """`matryoshka` only: prefixes of the dictionary that have to rebuild the input alone; () takes eighths doubling"""
    aux: AuxK | None = None
    """auxiliary loss for dead features; None (published) leaves them dead"""
    anneal: Anneal | None = None
    """annealing of k; None keeps k fixed"""
    sparsity: Sparsity | None = None
    """penalty of the architectures that take no k"""
    prune_dead: bool = False
    """whether features that fire on no training row are dropped at the end, which makes d_sae smaller"""
    products: str = "float32"
    """dtype that matrices are multiplied in; `bfloat16` is much faster where it is built in, and for plain `topk` only.
    Weights, sums and Adam stay float32"""
    freeze: str = "none"
    """what stays as it was drawn, for dictionaries in which nothing can be found (2602.14111): the `decoder`'s rows,
    the `encoder`, or `all`: random directions of `topk`, see `draw_directions`"""

    def __post_init__(self) -> None:
        for name in ("d_sae", "epochs", "batch_size"):
            check_count(name, getattr(self, name))
        check_positive("learning_rate", self.learning_rate)
        check_choice("architecture", self.architecture, TRAINABLE)
        check_choice("rule", self.rule, RULES)
        check_choice("bias_init", self.bias_init, BIAS_INITS)
        check_choice("decoder_norm", self.decoder_norm, DECODER_NORMS)
        check_choice("products", self.products, PRODUCTS)
        check_choice("freeze", self.freeze, FREEZE)
        if self.freeze == "all" and self.architecture != "topk":
            raise ConfigError(
                f"Random directions are chosen from by k, and architecture {self.architecture!r} would have to learn "
                "how many fire.",
                "Give architecture topk, or freeze the decoder or the encoder alone.",
            )
        if self.products != "float32" and not self.stackable:
            raise ConfigError(
                f"Products in {self.products} are for 'topk' without auxiliary loss.", "Leave products out."
            )
        self._check_sparsity()
        self._check_widths()
        if self.architecture == "transcoder" and (self.tied_init or self.apply_b_dec_to_input):
            raise ConfigError(
                "A transcoder's encoder and decoder belong to two sites, so neither weights nor bias are shared.",
                "Leave tied_init and apply_b_dec_to_input out.",
            )

    def _check_sparsity(self) -> None:
        """ConfigError unless k, annealing, AuxK and penalty are those that the architecture takes."""
        takes_k = self.architecture in TAKES_K
        if takes_k:
            check_k(self.k, self.d_sae)
        if self.anneal is not None:
            check_k(self.anneal.k_start, self.d_sae)
        if self.aux is not None and self.aux.k is not None:
            check_k(self.aux.k, self.d_sae)
        given = {
            "k": (self.k is not None, takes_k),
            "anneal": (self.anneal is not None, takes_k),
            "aux": (self.aux is not None, takes_k),
            "sparsity": (self.sparsity is not None, not takes_k),
        }
        for name, (is_given, is_taken) in given.items():
            if is_given and not is_taken:
                raise ConfigError(f"Architecture {self.architecture!r} takes no {name}.", f"Leave {name} out.")
        if not takes_k and self.sparsity is None:
            raise ConfigError(
                f"Architecture {self.architecture!r} needs a penalty.",
                'Give sparsity=Sparsity(...), or in a recipe file {"sparsity": {"coefficient": 1.0}}.',
            )

    def _check_widths(self) -> None:
        """ConfigError unless the widths belong to `matryoshka`, rise, and stay within d_sae."""
        if self.widths and self.architecture != "matryoshka":
            raise ConfigError("widths belong to architecture 'matryoshka' alone.", "Leave widths out.")
        rising = all(a < b for a, b in zip((0, *self.widths), self.widths, strict=False))
        if not rising or (self.widths and self.widths[-1] > self.d_sae):
            raise ConfigError(f"widths {self.widths} must rise within 1..{self.d_sae}.", "Give such as (64, 128, 256).")

    @property
    def frozen(self) -> tuple[str, ...]:
        """Names of the weights that are not trained."""
        names = {"none": (), "decoder": ("W_dec",), "encoder": ENCODER, "all": (*ENCODER, "W_dec", "b_dec")}
        return names[self.freeze] if self.decoder_bias else (*names[self.freeze], "b_dec")

    @property
    def n_epochs(self) -> int:
        """Passes over the rows; one, which only counts what fires, where nothing is trained."""
        return 1 if self.freeze == "all" else self.epochs

    @property
    def stackable(self) -> bool:
        """Whether `train_many` can train it: TopK without auxiliary loss."""
        return self.architecture == "topk" and self.aux is None

    def prefixes(self) -> tuple[int, ...]:
        """Widths of the nested dictionaries, the whole one last."""
        if self.architecture != "matryoshka":
            return (self.d_sae,)
        # an eighth, a quarter, a half and the whole; a part that would be empty is left out
        widths = self.widths or tuple(self.d_sae // part for part in (8, 4, 2) if self.d_sae // part)
        return (*(width for width in sorted(set(widths)) if width < self.d_sae), self.d_sae)

    def k_at(self, epoch: int) -> int | None:
        """k of the epoch with this number, counted from 0."""
        # from epoch `anneal.epochs` on the recipe's own k; before it a straight line that starts at `k_start`
        if self.k is None or self.anneal is None or epoch >= self.anneal.epochs:
            return self.k
        return round(self.anneal.k_start + (self.k - self.anneal.k_start) * epoch / self.anneal.epochs)


def whole_recipe(noted: Mapping[str, object]) -> dict[str, object]:
    """A recipe as it lies with an SAE, with the fields that came later at their defaults; empty where none is noted."""
    if not noted:
        return {}
    return {**{field.name: field.default for field in fields(SAETrainingConfig) if field.name != "d_sae"}, **noted}


def read_noted(noted: Mapping[str, Any]) -> SAETrainingConfig:
    """The recipe that lies with an SAE.

    Raises:
        ConfigError: for none, or one with a field that does not exist.
    """
    parts = {"aux": AuxK, "anneal": Anneal, "sparsity": Sparsity}
    try:
        values = {
            name: parts[name](**value) if name in parts and value is not None else value
            for name, value in {**noted, "widths": tuple(noted.get("widths", ()))}.items()
        }
        return SAETrainingConfig(**values)
    except TypeError:
        raise ConfigError(
            "No recipe is noted with the SAE that could be followed again.", "Train it with codi-int sae train."
        ) from None


def adaptive_d_sae(k: int) -> int:
    """A dictionary that grows with k: 256 for k=50, 512 for 100, 1024 for 200 (the published proposal)."""
    check_count("k", k)
    # the smallest power of two that is at least 5 k
    return 1 << (5 * k - 1).bit_length()
