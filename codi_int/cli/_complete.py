"""What a shell completes after an option: names of models, SAEs and data, layers, positions, features.

A completion runs between two strokes of a key, so nothing here loads torch: it reads names and settings of files.

Bash breaks words at colons, and `stories:validation` is one name: the words are joined for Typer, and the part that
bash holds to be finished is cut from what it is offered.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from codi_int import catalog
from codi_int.sites import LAYER_COMPONENTS

Items = list[str | tuple[str, str]]
"""words, or words with what a shell shows beside them"""
COMPLETE = "_CODI_INT_COMPLETE"
"""set by the shell's script while it completes"""


def models(incomplete: str) -> Items:
    """Shipped models, known checkpoints of the hub, and folders here that are models."""
    from codi_int.model.presets import PRESETS

    shipped: Items = [(name, "comes with the package") for name in catalog.shipped_models()]
    local: Items = [(str(path.parent), "a folder here") for path in _below("*/codi.json", "*/*/codi.json")]
    return _starting([*shipped, *local, *((name, "on the hub") for name in PRESETS)], incomplete)


def saes(incomplete: str) -> Items:
    """Shipped SAEs, and folders here that are SAEs or hold one for each site."""
    shipped: Items = [(name, "comes with the package") for name in catalog.shipped_saes()]
    single = [path.parent for path in _below(*(f"{depth}{catalog.SAE_CONFIG}" for depth in ("*/", "*/*/")))]
    folders = dict.fromkeys(path.parent for path in single if path.parent != Path())
    many: Items = [(str(path), "SAEs of several sites") for path in folders]
    return _starting([*shipped, *many, *((str(path), "an SAE here") for path in single)], incomplete)


def data(incomplete: str) -> Items:
    """Data sets by name, and files here that may hold problems."""
    return _starting([*catalog.data_names(), *map(str, _below("*.jsonl", "*/*.jsonl", "*.csv", "*/*.csv"))], incomplete)


def layers(ctx: Any, incomplete: str) -> Items:
    """The model's layers; those that have an SAE say so."""
    return _numbered(range(catalog.shape_of_model(_model(ctx)).n_layers), "L", _sites(ctx), incomplete)


def positions(ctx: Any, incomplete: str) -> Items:
    """The bot token and the thoughts."""
    return _numbered(range(catalog.shape_of_model(_model(ctx)).n_thoughts + 1), "P", _sites(ctx), incomplete)


def components(incomplete: str) -> Items:
    """Tensors of a block; heads are counted from 0."""
    heads: Items = [("head:0", "what one attention head adds")]
    return _starting([*LAYER_COMPONENTS, *heads], incomplete)


def features(ctx: Any, incomplete: str) -> Items:
    """The features that the SAE at the site has."""
    return _listed(map(str, range(catalog.about_sae(_sae(ctx)).get("d_sae") or 0)), incomplete)


def _numbered(numbers: range, letter: str, sites: Iterable[str], incomplete: str) -> Items:
    has = {part for site in sites for part in site.split(".")}
    return _listed(((str(n), "has an SAE") if f"{letter}{n}" in has else str(n) for n in numbers), incomplete)


def _listed(items: Iterable[str | tuple[str, str]], incomplete: str) -> Items:
    """What may stand at the end of a list: `3,4` goes on with what begins with 4."""
    # what was typed before the last comma or dash stays in front, for shells replace the whole word
    cut = max(incomplete.rfind(","), incomplete.rfind("-")) + 1
    before, last = incomplete[:cut], incomplete[cut:]
    return [_prefixed(before, item) for item in _starting(list(items), last)]


def _prefixed(before: str, item: str | tuple[str, str]) -> str | tuple[str, str]:
    return before + item if isinstance(item, str) else (before + item[0], item[1])


def _starting(items: Items, incomplete: str) -> Items:
    return [item for item in items if (item if isinstance(item, str) else item[0]).startswith(incomplete)]


def _below(*patterns: str) -> list[Path]:
    """Files here or below by pattern, as relative paths."""
    return sorted(path for pattern in patterns for path in Path().glob(pattern) if not path.parts[0].startswith("."))


def _sites(ctx: Any) -> tuple[str, ...]:
    """The sites that have an SAE under the options typed so far."""
    return catalog.sites_with_sae(_model(ctx), ctx.params.get("sae"))


def _model(ctx: Any) -> str:
    return str(ctx.params.get("model") or catalog.DEFAULT_MODEL)


def _sae(ctx: Any) -> str:
    """The SAE that the options typed so far mean."""
    given, site = ctx.params.get("sae"), f"L{_typed(ctx, 'layer', 14)}.P{_typed(ctx, 'position', 3)}"
    if given is None:
        return catalog.sae_of_model(_model(ctx), site)
    return str(given) if catalog.is_sae(given) else str(Path(given) / site)


def _typed(ctx: Any, name: str, otherwise: int) -> int:
    """The first number of `--layer` or `--position`, which some commands take several of."""
    value = ctx.params.get(name, ctx.params.get(f"{name}s"))
    number = re.search(r"\d+", str(value))
    return int(number[0]) if number else otherwise


def join_words(words: Sequence[str], current: int) -> tuple[list[str], int, str]:
    """Words that were broken at colons, joined again.

    Args:
        words: as bash has them, the command first.
        current: index of the one that is being typed; one beyond the end where it is empty.

    Returns:
        the words up to the current one, its index, and the part of it that bash holds to be finished.
    """
    out: list[str] = []
    finished = ""
    glue = False
    for word in [*words[: current + 1], *[""] * (current >= len(words))]:
        if out and (glue or word == ":"):
            finished = out[-1] if glue else f"{out[-1]}:"
            out[-1] += word
        else:
            out.append(word)
            finished = ""
        glue = word == ":"
    return out, len(out) - 1, finished


@contextmanager
def whole_names() -> Iterator[None]:
    """Let a completion of bash see whole names; does nothing elsewhere."""
    if os.environ.get(COMPLETE) != "complete_bash":
        yield
        return
    words, current, finished = join_words(os.environ["COMP_WORDS"].split("\n"), int(os.environ["COMP_CWORD"]))
    os.environ |= {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(current)}
    offered = StringIO()
    try:
        with redirect_stdout(offered):
            yield
    finally:
        print("\n".join(line.removeprefix(finished) for line in offered.getvalue().splitlines()))
