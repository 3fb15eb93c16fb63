"""What a command's options name: engine, problems, and which SAEs belong to its sites."""

from collections.abc import Sequence
from pathlib import Path

from codi_int.cli._console import Report, tell
from codi_int.cli._options import InterventionOptions
from codi_int.data.problems import load_problems, problems_sha256
from codi_int.errors import SAEError
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.model.loading import load_model
from codi_int.run_folder import RunFolder
from codi_int.sae.store import CONFIG_FILE, bundled_saes, find_sae, load_sae
from codi_int.types import Problem, Site


def prepare(
    options: InterventionOptions, folder: RunFolder, report: Report
) -> tuple[FeatureInterventionEngine, tuple[Problem, ...], str]:
    """Engine, problems and the name of the SAE that the options mean, cheapest errors first; the folder is claimed."""
    # Site and problems are read first: a slip in them costs milliseconds, found after the model it would cost its load.
    site = Site(options.layer, options.position)
    problems = load_problems(options.data, options.limit)
    model = load_model(options.model, device=options.device)
    model.check_site(site)
    name = options.sae or default_sae(options.model, str(site))
    sae = load_sae(name, device=options.device)
    engine = FeatureInterventionEngine(model, {site: sae}, splice=options.splice, propagate=options.propagate)
    folder.claim(model=model.sha256, sae=sae.sha256, data=problems_sha256(problems))
    return engine, problems, name


def default_sae(model: str, site: str) -> str:
    """The SAE that belongs to a model: bundled as `codi-mini/L14.P3`, or beside a model's own files."""
    # a model's own folder wins over a bundled name: the SAEs in it were made for these weights
    beside = Path(model) / "sae" / site
    return str(beside) if beside.is_dir() else f"{model}/{site}"


def saes_for(model: str, sae: str | None, sites: Sequence[Site]) -> dict[Site, str]:
    """The SAE of every site that has one, by name or folder; of several sites those without are left out, and named.

    Args:
        model: name or folder of the model.
        sae: an SAE, or a folder with a folder for each site (`L14.P3/`), such as a sweep's; None for those that come
            with the model.
        sites: every combination of the layers and positions asked for.

    Raises:
        SAEError: where no site has an SAE, or one has several, or a single SAE is given for several sites.
    """
    if sae is not None and len(sites) > 1 and _is_sae(sae):
        raise SAEError(
            f"--sae {sae} is one SAE, and there are {len(sites)} sites: {_listed(sites)}.",
            "Give a folder that holds a folder for each site, such as L14.P3/, or ask for one site.",
        )
    found = {site: name for site in sites if (name := _sae_of(model, sae, site)) is not None}
    missing = [site for site in sites if site not in found]
    if not found:
        find_sae(sae or default_sae(model, str(sites[0])))  # says what there is, where the name itself is wrong
        raise SAEError(f"{sae} holds no SAE for {_listed(sites)}.", "It needs a folder for each site, such as L14.P3/.")
    # said and not refused: a range of layers is asked for more often than every one of them has an SAE
    if missing:
        tell(f"No SAE at {_listed(missing)}: left out.")
    return found


def _sae_of(model: str, sae: str | None, site: Site) -> str | None:
    """The name of one site's SAE; None where there is none."""
    if sae is None:
        name = default_sae(model, str(site))
        return name if _is_sae(name) else None
    if _is_sae(sae):
        return sae
    inside = sorted((Path(sae) / str(site)).glob(f"*/{CONFIG_FILE}"))
    # a sweep keeps several shapes at one site; picking one of them silently would decide the result
    if len(inside) > 1:
        names = ", ".join(path.parent.name for path in inside[:4]) + (", ..." if len(inside) > 4 else "")
        raise SAEError(f"{sae} holds {len(inside)} SAEs for {site}: {names}.", f"Give one: --sae {inside[0].parent}")
    if inside:
        return str(inside[0].parent)
    direct = Path(sae) / str(site)
    return str(direct) if _is_sae(str(direct)) else None


def _is_sae(name: str) -> bool:
    return name in bundled_saes() or (Path(name) / CONFIG_FILE).is_file()


def _listed(sites: Sequence[Site]) -> str:
    return ", ".join(map(str, sites[:6])) + (f" and {len(sites) - 6} more" if len(sites) > 6 else "")
