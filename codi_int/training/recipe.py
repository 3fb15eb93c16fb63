"""The recipe of a training run: everything that decides its result, kept as a JSON file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from codi_int.catalog import STORIES, shipped_models
from codi_int.data.story_kinds import KINDS, StoryKind, story_kind
from codi_int.errors import ConfigError, DataError
from codi_int.files import read_json_object

STAGE_KINDS = ("drill", "chain", "joint")
RECIPES = Path(__file__).resolve().parent / "recipes"
"""the recipes that come with the package"""
MAX_POSITIONS = 192
"""positions of a model that is trained here; the longest story with its chain stays below"""
MAX_PARAMETERS = 10**9
"""a model above is no model for stories, and would only fill the memory before anything is said"""
FACT_TOKENS = 7
"""tokens of one calculation in a drill line: << a * b = c >>"""
MOST_STEPS = max(kind.max_steps for kind in KINDS.values())
"""steps of the longest story of any kind"""
LEAST_SHARE = 0.001
"""below, a stage would look at thousands of stories for each one that it keeps"""


@dataclass(frozen=True)
class Allowed:
    """What a value of a recipe may be."""

    kind: type
    """its type; a whole number is a float too"""
    low: int | float
    """smallest value"""
    high: int | float
    """largest value"""

    def check(self, name: str, value: object) -> None:
        """ConfigError where `value` is of another type or out of range."""
        # True is an int to Python
        is_bool, kinds = isinstance(value, bool), (int, float) if self.kind is float else (self.kind,)
        if not isinstance(value, kinds) or is_bool != (self.kind is bool):
            words = {int: "a whole number", float: "a number", bool: "true or false"}
            raise ConfigError(f"{name} is {value!r}; it must be {words[self.kind]}.", self.words())
        assert isinstance(value, int | float)
        if not self.low <= value <= self.high:  # NaN is in no range
            raise ConfigError(f"{name} is {value}; it is out of range.", self.words())

    def words(self) -> str:
        """The allowed values, as an error's second line says them."""
        return "Write true or false." if self.kind is bool else f"Allowed: {self.low:g} to {self.high:g}."


STAGE_VALUES = {
    "batches": Allowed(int, 1, 10**9),
    "lr_from": Allowed(float, 0, 1),
    "lr_to": Allowed(float, 0, 1),
}
RECIPE_VALUES = {
    "n_layers": Allowed(int, 1, 256),
    "d_model": Allowed(int, 2, 16_384),
    "n_heads": Allowed(int, 1, 256),
    "d_mlp": Allowed(int, 1, 65_536),
    "prj_dim": Allowed(int, 1, 65_536),
    "n_thoughts": Allowed(int, 1, 32),
    "batch_size": Allowed(int, 1, 65_536),
    "drill_facts": Allowed(int, 1, MAX_POSITIONS // FACT_TOKENS),
    "distill_weight": Allowed(float, 0, 10**6),
    "fixed_word_weight": Allowed(float, 0, 10**6),
    "weight_decay": Allowed(float, 0, 1),
    "clip_norm": Allowed(float, 1e-9, 10**9),
    "bfloat16": Allowed(bool, 0, 1),
    "seed": Allowed(int, 0, 2**63 - 1),
}


@dataclass(frozen=True)
class Stage:
    """One stretch of training."""

    kind: str
    """drill: bare calculations; chain: stories with the written chain alone; joint: the full CODI loss"""
    batches: int
    """optimizer steps"""
    lr_from: float
    """learning rate at its start"""
    lr_to: float
    """learning rate at its end; linear in between"""
    keep: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    """share of the stories of 1, 2, 3 and 4 steps (and of the longer kind, if named, 5 and 6) that is trained on; the
    others are passed over, and longer ones than it names all taken"""

    def __post_init__(self) -> None:
        _check_stage(vars(self))


@dataclass(frozen=True)
class Recipe:
    """A CODI model and how it is trained on stories."""

    stages: tuple[Stage, ...]
    """in order"""
    n_layers: int = 16
    """blocks"""
    d_model: int = 96
    """width of the residual"""
    n_heads: int = 3
    """attention heads"""
    d_mlp: int = 256
    """width of the gated MLP"""
    prj_dim: int = 96
    """width of the projection's hidden layer"""
    n_thoughts: int = 6
    """continuous thoughts"""
    batch_size: int = 128
    """stories (or drill lines) per optimizer step"""
    drill_facts: int = 12
    """calculations per drill line"""
    distill_weight: float = 20.0
    """weight of the smooth-L1 distance at the token before the answer (20 in the published recipe)"""
    fixed_word_weight: float = 0.1
    """weight of the answer's fixed words beside its number"""
    weight_decay: float = 0.01
    """decoupled weight decay"""
    clip_norm: float = 1.0
    """largest norm of the gradient"""
    bfloat16: bool = True
    """products inside the blocks in bfloat16; weights, residual and attention stay float32"""
    seed: int = 0
    """seed of the initial weights"""
    stories: str = STORIES
    """which stories: `stories`, or the longer ones `stories-6`"""
    start: str = ""
    """the shipped model whose weights training begins with; by default those that `seed` draws"""

    def __post_init__(self) -> None:
        if not isinstance(self.stages, tuple) or not all(isinstance(stage, Stage) for stage in self.stages):
            raise ConfigError(
                f"stages is {self.stages!r:.60}; it must be a tuple of stages.",
                "Take Stage(kind, batches, lr_from, lr_to).",
            )
        if not self.stages:
            raise ConfigError(
                "stages is empty; a recipe needs at least one stage.", f"Kinds: {', '.join(STAGE_KINDS)}."
            )
        _check_values(vars(self), RECIPE_VALUES)
        _check_choices(vars(self))
        self._check_shares()
        # rotary positions turn pairs of dimensions, so a head's width is even
        if self.d_model % (2 * self.n_heads):
            raise ConfigError(
                f"d_model {self.d_model} must be a multiple of twice n_heads ({self.n_heads}).",
                f"Take for instance d_model {2 * self.n_heads * max(1, self.d_model // (2 * self.n_heads))}.",
            )
        if self.block_parameters > MAX_PARAMETERS:
            raise ConfigError(
                f"The blocks would have {self.block_parameters / 1e6:,.0f} million weights.",
                f"At most {MAX_PARAMETERS / 1e6:,.0f} million: lower n_layers, d_model or d_mlp.",
            )

    def _check_shares(self) -> None:
        """ConfigError where a stage has shares of more steps than the stories have."""
        most = self.kind.max_steps
        for stage in self.stages:
            if len(stage.keep) > most:
                raise ConfigError(
                    f"Stage {stage.kind}: keep has {len(stage.keep)} shares; {self.stories} have at most {most} steps.",
                    "Give four shares." if most == 4 else f"Give 4 to {most} shares.",
                )

    @property
    def kind(self) -> StoryKind:
        """The kind of stories that are trained on."""
        return story_kind(self.stories)

    @property
    def block_parameters(self) -> int:
        """Weights in the blocks' matrices: four of attention, three of the gated MLP."""
        return self.n_layers * self.d_model * (4 * self.d_model + 3 * self.d_mlp)

    @property
    def total_batches(self) -> int:
        """Optimizer steps of the whole run."""
        return sum(stage.batches for stage in self.stages)

    def at(self, batch: int) -> tuple[Stage, float]:
        """The stage and the learning rate of optimizer step `batch`."""
        for stage in self.stages:
            if batch < stage.batches:
                return stage, stage.lr_from + (stage.lr_to - stage.lr_from) * batch / stage.batches
            batch -= stage.batches
        return self.stages[-1], self.stages[-1].lr_to

    def to_dict(self) -> dict[str, Any]:
        """The recipe in JSON types."""
        found = asdict(self)
        # left out where a recipe does not use them: checkpoints and models of before have no such values
        if not self.start:
            del found["start"]
        if self.stories == STORIES:
            del found["stories"]
        return found

    @classmethod
    def load(cls, source: str | Path) -> "Recipe":
        """Read a recipe from a file, or one that comes with the package by its name, such as `codi-mini`.

        Raises:
            DataError: there is none, or the file is no recipe.
            ConfigError: a value of another type or out of range; names the file and the value.
        """
        path = _find(source)
        remedy = f"Compare with {RECIPES / 'codi-mini.json'}."
        data = read_json_object(path, remedy=remedy)
        _check_names(data, cls, path)
        rows = data.get("stages")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise DataError(f"{path} is no recipe: stages is no list of stages.", remedy)
        for row in rows:
            _check_names(row, Stage, path)
            if missing := [name for name in ("kind", *STAGE_VALUES) if name not in row]:
                raise DataError(f"{path} is no recipe: a stage lacks {', '.join(missing)}.", remedy)
        try:
            # looked at before the records are made, which say of a value only that it is of another type
            for row in rows:
                _check_stage(row)
            _check_values(data, RECIPE_VALUES)
            _check_choices(data)
            values = _with_floats(data, RECIPE_VALUES)
            return cls(**{**values, "stages": tuple(Stage(**_with_floats(row, STAGE_VALUES)) for row in rows)})
        except ConfigError as error:
            raise ConfigError(f"{path}: {error.rule}", error.remedy or remedy) from None


def _find(source: str | Path) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    shipped = RECIPES / f"{source}.json"
    # a name, not a path: `../x` is to lead nowhere
    if path.name == str(source) and shipped.is_file():
        return shipped
    names = ", ".join(sorted(p.stem for p in RECIPES.glob("*.json")))
    raise DataError(f"There is no recipe at {source}.", f"Give the path of a recipe's JSON file, or a name: {names}.")


def _check_names(data: dict[str, Any], record: type, path: Path) -> None:
    """DataError where a file has values that the record does not: a misspelt one would be left at its default."""
    known = [field.name for field in fields(record)]
    if unknown := sorted(set(data) - set(known)):
        raise DataError(
            f"{path} is no recipe: {', '.join(unknown)[:60]} does not exist.", f"Known: {', '.join(known)}."
        )


def _check_values(values: Mapping[str, Any], table: Mapping[str, Allowed], prefix: str = "") -> None:
    """ConfigError for the first of the values in a table that may not be what it is; values may be missing."""
    for name, allowed in table.items():
        if name in values:
            allowed.check(prefix + name, values[name])


def _check_choices(values: Mapping[str, Any]) -> None:
    """ConfigError where the stories, or the model to begin with, do not exist."""
    stories, start = values.get("stories", STORIES), values.get("start", "")
    if not isinstance(stories, str) or stories not in KINDS:
        raise ConfigError(f"stories is {stories!r:.60}.", f"Kinds of stories: {', '.join(KINDS)}.")
    if not isinstance(start, str) or (start and start not in shipped_models()):
        raise ConfigError(f"start is {start!r:.60}.", f"Shipped models: {', '.join(shipped_models())}.")


def _check_stage(values: Mapping[str, Any]) -> None:
    kind = values.get("kind")
    if kind not in STAGE_KINDS:
        raise ConfigError(f"Stage kind {kind!r} does not exist.", f"Kinds: {', '.join(STAGE_KINDS)}.")
    _check_values(values, STAGE_VALUES, f"Stage {kind}: ")
    keep = values.get("keep", (1.0,) * 4)
    if not isinstance(keep, tuple | list) or len(keep) not in range(4, MOST_STEPS + 1) or not all(map(_is_share, keep)):
        raise ConfigError(
            f"Stage {kind}: keep is {keep!r:.60}.",
            "It is four shares from 0 to 1, not all 0; up to six for stories of six steps.",
        )
    if max(keep) < LEAST_SHARE:
        raise ConfigError(
            f"Stage {kind}: keep is {keep}, which leaves hardly a story.",
            f"One of the shares is at least {LEAST_SHARE}.",
        )


def _with_floats(values: Mapping[str, Any], table: Mapping[str, Allowed]) -> dict[str, Any]:
    """Checked values of a file in the records' types: 20 and 20.0 are one recipe."""
    out: dict[str, Any] = {
        name: float(v) if name in table and table[name].kind is float else v for name, v in values.items()
    }
    return {**out, "keep": tuple(map(float, out["keep"]))} if "keep" in out else out


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
