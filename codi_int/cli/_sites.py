"""What a command's options name: engine, problems, and which SAEs belong to its sites."""

import shlex
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from codi_int.catalog import (
    DEFAULT_MODEL,
    SAES_FOLDER,
    in_short,
    is_sae,
    sae_of_model,
    saes_below,
    shipped_saes,
    site_noted,
    sites_with_sae,
)
from codi_int.cli._console import Report, tell
from codi_int.cli._job import command_line
from codi_int.cli._options import InterventionOptions
from codi_int.data.problems import load_problems, problems_sha256
from codi_int.errors import SAEError
from codi_int.interventions.engine.clean import CleanPasses
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.model.hooked import CodiModel
from codi_int.model.loading import load_model
from codi_int.run_folder import RunFolder
from codi_int.sae.store import load_sae
from codi_int.types import Problem, Site


def prepare(
    options: InterventionOptions, folder: RunFolder, report: Report
) -> tuple[FeatureInterventionEngine, tuple[Problem, ...], str]:
    """Engine, problems and the name of the SAE that the options mean, cheapest errors first; the folder is claimed."""
    # Site and problems are read first: a slip in them costs milliseconds, found after the model it would cost its load.
    site = options.site
    problems = load_problems(options.data, options.limit)
    model = open_model(options.model, options.device)
    model.check_site(site)
    (name,) = saes_for(options.model, options.sae, [site]).values()
    sae = load_sae(name, device=options.device)
    engine = FeatureInterventionEngine(
        model,
        {site: sae},
        splice=options.splice,
        propagate=options.propagate,
        memory_budget=options.memory_budget,
        later=options.later,
    )
    begin_warm(engine, len(problems))
    folder.claim(model=model.sha256, sae=sae.sha256, data=problems_sha256(problems))
    return engine, problems, name


@dataclass(frozen=True)
class _Warm:
    """What stays in memory from one command to the next."""

    models: dict[Hashable, CodiModel] = field(default_factory=dict)
    """by name, device, the seed that drew it anew and, of a folder, the state of its files"""
    passes: dict[int, CleanPasses] = field(default_factory=dict)
    """by the identity of a model of `models`"""


MOST_CAPTURED = 2**28
"""bytes of activations that a clean pass keeps for commands to come; of a larger model only those asked for are kept"""
_warm: _Warm | None = None
"""None where a process runs a single command, which has nothing to keep anything for"""


@contextmanager
def kept_warm() -> Iterator[None]:
    """Models and clean passes stay in memory between the commands that run inside."""
    global _warm
    _warm = _Warm()
    try:
        yield
    finally:
        _warm = None


def open_model(name: str, device: str, reinitialize: int | None = None) -> CodiModel:
    """The model, loaded or kept from an earlier command."""
    if _warm is None:
        return load_model(name, device=device, reinitialize=reinitialize)
    # a folder may be written anew between two commands
    files = [(str(path), path.stat()) for path in sorted(Path(name).glob("*"))]
    key = (name, device, reinitialize, tuple((path, stat.st_mtime_ns, stat.st_size) for path, stat in files))
    # one at a time: a second model need not fit beside the first
    if key not in _warm.models:
        _warm.models.clear()
        _warm.passes.clear()
        _warm.models[key] = load_model(name, device=device, reinitialize=reinitialize)
    return _warm.models[key]


def begin_warm(engine: FeatureInterventionEngine, n_problems: int) -> None:
    """Let an engine begin from the clean pass of an earlier command, and later ones from its own."""
    if _warm is None:
        return
    model = engine.model
    # all that an SAE may be trained at, so that a command at another site finds its activations in the same pass
    sites = [Site(layer, position) for layer in range(model.n_layers) for position in range(model.n_thoughts + 1)]
    size = n_problems * len(sites) * model.d_model * model.dtype.itemsize
    engine.share(_warm.passes.setdefault(id(model), CleanPasses(sites if size <= MOST_CAPTURED else ())))


def share_passes(engines: Sequence[FeatureInterventionEngine], n_problems: int) -> None:
    """Let engines of one model run on the same clean pass."""
    passes = CleanPasses()
    for engine in engines:
        engine.share(passes)
        begin_warm(engine, n_problems)


def saes_for(model: str, sae: str | None, sites: Sequence[Site]) -> dict[Site, str]:
    """The SAE of every site that has one, by name or folder; of several sites those without are left out, and named.

    Args:
        model: name or folder of the model.
        sae: an SAE, or a folder with a folder for each site (`L14.P3/`), as several `sae train` or a sweep leave it;
            None for those that come with the model.
        sites: every combination of the layers and positions asked for.

    Raises:
        SAEError: where no site has an SAE, or one has several, or a single SAE is given for several sites or is that of
            another site. Where there is none, the message has the command that trains one and the one that uses it.
    """
    if sae is not None and is_sae(sae):
        return _single(model, sae, sites)
    found = {site: name for site in sites if (name := _sae_of(model, sae, site)) is not None}
    if not found:
        raise _none_there(model, sae, sites)
    # said and not refused: a range of layers is asked for more often than every one of them has an SAE
    if missing := [site for site in sites if site not in found]:
        tell(f"No SAE at {_listed(missing)}: left out.")
    return found


def _single(model: str, sae: str, sites: Sequence[Site]) -> dict[Site, str]:
    """One SAE for the one site that it can be for."""
    if len(sites) > 1:
        raise SAEError(
            f"--sae {sae} is one SAE, and there are {len(sites)} sites: {_listed(sites)}.",
            "Give a folder that holds a folder for each site, such as L14.P3/, or ask for one site.",
        )
    noted = site_noted(sae)
    if noted not in (None, str(sites[0])):
        remedy = _shipped_there(model, sites) or two_commands(model, sites, SAES_FOLDER)
        raise SAEError(f"--sae {sae} was trained at {noted}, not at {sites[0]}.", remedy)
    return {sites[0]: sae}


def reaching(model: CodiModel, names: dict[Site, str]) -> dict[Site, str]:
    """Several sites without the one that no later step reads, which is named: an edit there is refused."""
    idle = Site(model.n_layers - 1, model.n_thoughts)
    if len(names) < 2 or idle not in names:
        return names
    tell(f"Nothing later reads {idle}: left out.")
    return {site: name for site, name in names.items() if site != idle}


def _sae_of(model: str, sae: str | None, site: Site) -> str | None:
    """The name of one site's SAE; None where there is none."""
    if sae is None:
        name = sae_of_model(model, str(site))
        return name if is_sae(name) else None
    direct = Path(sae) / str(site)
    if is_sae(direct):
        return str(direct)
    inside = saes_below(direct)
    # a sweep keeps several shapes at one site; picking one of them silently would decide the result
    if len(inside) > 1:
        names = ", ".join(path.name for path in inside[:4]) + (", ..." if len(inside) > 4 else "")
        raise SAEError(f"--sae {sae} holds {len(inside)} SAEs for {site}: {names}.", f"Give one: --sae {inside[0]}")
    return str(inside[0]) if inside else None


def _none_there(model: str, sae: str | None, sites: Sequence[Site]) -> SAEError:
    """What is there, and how to come to what is not."""
    if sae is None:
        own = sites_with_sae(model, None)
        there = f"it has SAEs for {in_short(own)}" if own else "it comes with none"
        return SAEError(f"{model} has no SAE for {_listed(sites)}: {there}.", two_commands(model, sites, SAES_FOLDER))
    folder = Path(sae)
    if not folder.is_dir():
        # a name such as codi-mini/L10.P5 that is not shipped is no folder to train into
        into = SAES_FOLDER if folder.parent.name == model else sae
        rule = f"--sae {sae} is neither a folder nor a shipped SAE (shipped: {in_short(shipped_saes())})."
        shipped = _shipped_there(model, sites) if into == SAES_FOLDER else ""
        return SAEError(rule, shipped or two_commands(model, sites, into))
    there = ", ".join(str(path.relative_to(folder)) for path in saes_below(folder)[:6]) or "none at all"
    return SAEError(
        f"--sae {sae} holds no SAE for {_listed(sites)}; it holds {there}.", two_commands(model, sites, sae)
    )


def _shipped_there(model: str, sites: Sequence[Site]) -> str:
    """The remedy where the model comes with what is missing; empty where it does not."""
    names = [sae_of_model(model, str(site)) for site in sites]
    if not all(map(is_sae, names)):
        return ""
    return f"{model} comes with an SAE for {_listed(sites)}: leave --sae out" + (
        f", or give {names[0]}." if len(names) == 1 else "."
    )


def two_commands(model: str, sites: Sequence[Site], folder: str) -> str:
    """The command that trains what is missing, and the one that was typed, with the SAEs that come out.

    Args:
        model: of which model.
        sites: where SAEs are missing; several are trained by one sweep of a single shape.
        folder: where they are to lie, each in a folder of its site's name.
    """
    of_model = ["--model", model] if model != DEFAULT_MODEL else []
    if len(sites) == 1:
        kind = ["train", *_placed(sites), *of_model, "--out", f"{folder}/{sites[0]}"]
    else:
        kind = ["sweep", *_placed(sites), *of_model, "--k", "16", "--features", "512", "--out", folder]
    return f"Train it: {shlex.join(['codi-int', 'sae', *kind])} · then: {shlex.join(_with_sae(command_line(), folder))}"


def _placed(sites: Sequence[Site]) -> list[str]:
    """`--layer` and `--position` as they would be typed; sites are every combination of the two."""
    layers = dict.fromkeys(str(site.layer) for site in sites)
    positions = dict.fromkeys(str(site.position) for site in sites)
    component = [] if sites[0].component == "resid_post" else ["--component", sites[0].component]
    return ["--layer", ",".join(layers), "--position", ",".join(positions), *component]


def _with_sae(words: list[str], folder: str) -> list[str]:
    """A command line whose `--sae` is `folder`."""
    kept: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        if word != "--sae" and before != "--sae" and not word.startswith("--sae="):
            kept.append(word)
    return [*kept, "--sae", folder]


def _listed(sites: Sequence[Site]) -> str:
    return ", ".join(map(str, sites[:6])) + (f" and {len(sites) - 6} more" if len(sites) > 6 else "")
