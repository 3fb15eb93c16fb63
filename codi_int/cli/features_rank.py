"""`codi-int features rank`: the alive features of an SAE."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import RenderableType

from codi_int.catalog import is_sae, site_noted
from codi_int.cli import _options as o
from codi_int.cli._console import Report
from codi_int.cli._fitting import Column, Page, table
from codi_int.cli._job import Kept, run_folder, run_job
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, percentage
from codi_int.cli._signature import with_options
from codi_int.errors import ConfigError, SAEError
from codi_int.files import write_csv, write_json
from codi_int.run_folder import RunFolder

if TYPE_CHECKING:
    from codi_int.features.profiles import FeatureProfile
    from codi_int.types import Site

SCHEMA = "codi-int/features-rank@1"
NAME = "features-rank"
TOP = 20
LAYER, POSITION = 14, 3
"""where no SAE says anything else: the site of the shipped one"""


@dataclass(frozen=True, kw_only=True)
class RankOptions(o.KeptOptions):
    """Which SAE, and how much of it to show."""

    reinitialize: o.Reinitialize = None
    layer: o.OwnLayer = None
    position: o.OwnPosition = None
    sae: o.Sae = None
    ranks: Annotated[
        tuple[int, ...],
        o.output("--rank", metavar="N", help="Only these, 1 for the most frequent: 1-20.  [default: all]"),
        partial(o.whole_numbers, option="--rank"),
    ] = ()
    top: Annotated[
        int | None,
        o.output(
            parser=o.whole("--top", least=1), metavar="N", help="How many to show.  [default: 20, or all of --rank]"
        ),
    ] = None


@dataclass(frozen=True)
class Ranking:
    """Profiles, and of what they are."""

    profiles: "tuple[FeatureProfile, ...]"
    """the alive features, or those of them that were asked for"""
    n_alive: int
    """alive features"""
    d_sae: int
    """features"""
    site: "Site"
    """where the SAE reads"""
    model: str
    """its model's name"""
    sae: str
    """its own"""
    data: str
    """of the problems"""
    n_problems: int
    """how many these are"""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        about = {name: value for name, value in vars(self).items() if name not in ("profiles", "site")}
        rows = [asdict(profile) for profile in self.profiles]
        return {"schema": SCHEMA, "site": asdict(self.site), **about, "rows": rows}


@with_options
def rank(options: RankOptions) -> None:
    """The alive features of an SAE, the most frequent first: how often they fire, and how strongly.

    Without --sae, --layer and --position: those of the shipped SAE at layer 14, position 3.
    Example: codi-int features rank --layer 14 --position 3 --top 10
    """
    if options.ranks and min(options.ranks) < 1:
        raise ConfigError(f"--rank starts at 1, got {min(options.ranks)}.", "Write --rank 1-20, for example.")
    folder = run_folder(options, free=("top",))
    run_job(
        lambda report: _run(options, folder, report),
        document=Ranking.to_dict,
        page=lambda found: rank_page(found, options.top or (len(options.ranks) or TOP)),
        as_json=options.as_json,
        out=folder,
        keep=_keep,
    )


def _run(options: RankOptions, folder: RunFolder, report: Report) -> Ranking:
    from codi_int.cli._sites import saes_for
    from codi_int.data.problems import load_problems, problems_sha256
    from codi_int.features.profiles import profile_features
    from codi_int.model.loading import load_model
    from codi_int.sae.store import load_sae

    site, problems = _site(options), load_problems(options.data, options.limit)
    model = load_model(options.model, device=options.device, reinitialize=options.reinitialize)
    model.check_site(site)
    (name,) = saes_for(options.model, options.sae, [site]).values()
    sae = load_sae(name, device=options.device)
    folder.claim(model=model.sha256, sae=sae.sha256, data=problems_sha256(problems))
    profiles = profile_features(sae, model, problems, site, progress=report)
    wanted = set(options.ranks)
    return Ranking(
        profiles=tuple(profile for profile in profiles if not wanted or profile.rank in wanted),
        n_alive=len(profiles),
        d_sae=sae.d_sae,
        site=site,
        model=model.name,
        sae=name,
        data=options.data,
        n_problems=len(problems),
    )


def _site(options: RankOptions) -> "Site":
    """The site asked for; where none is, that of the SAE, else the shipped one's."""
    from codi_int.types import Site

    single = options.sae is not None and is_sae(options.sae)
    noted = site_noted(options.sae) if single and options.sae else None
    if single and noted is None and (options.layer is None or options.position is None):
        raise SAEError(
            f"--sae {options.sae} does not say at which site it was trained.", "Give --layer and --position."
        )
    own = Site.parse(noted) if noted else Site(LAYER, POSITION)
    layer = own.layer if options.layer is None else options.layer
    return replace(own, layer=layer, position=own.position if options.position is None else options.position)


def _keep(found: Ranking, out: Path) -> Kept:
    document = found.to_dict()
    write_json(out / f"{NAME}.json", document)
    columns = ["rank", "feature", "firing_rate", "n_firing", "n_problems", "mean_activation", "max_activation"]
    write_csv(out / f"{NAME}.csv", document["rows"], columns)
    return Kept((f"{NAME}.json", f"{NAME}.csv"), [(document, out)])


def rank_page(found: Ranking, top: int) -> Page:
    """One row for each feature, and how many are not shown."""
    head = Text(f"{found.n_alive:,} of {found.d_sae:,} features alive at {found.site} of {found.model}", style="bold")
    head.append(f"\n{counted(found.n_problems, 'problem')} of {found.data} · SAE {found.sae}", style="not bold")
    out = table(
        "rank", "feature", "fires on", Column("problems", rank=2), Column("mean", rank=1), Column("largest", rank=1)
    )
    if not found.profiles and found.n_alive:
        return Page(head, "", Text(f"None of the ranks asked for: there are 1 to {found.n_alive:,}."))
    for one in found.profiles[:top]:
        out.add_row(
            str(one.rank),
            str(one.feature),
            f"{percentage(one.firing_rate)} %",
            f"{one.n_firing:,}",
            f"{one.mean_activation:#.3g}",
            f"{one.max_activation:#.3g}",
        )
    return Page(head, "", out, *_below(found.profiles[top:]), "", Text(NOTE, style="dim"))


NOTE = "mean and largest: magnitude of the latent where it fires"


def _below(rest: "Sequence[FeatureProfile]") -> list[RenderableType]:
    """What was left out, and how to see it."""
    if not rest:
        return []
    shown = f"--rank {rest[0].rank}-{min(rest[0].rank + TOP, rest[-1].rank + 1) - 1}"
    return [Text(f"and {len(rest):,} more; {shown} shows the next, --json has all", style="dim")]
