"""`codi-int features export`: the features of an SAE for another tool's pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from codi_int.cli import _options as o
from codi_int.cli._feature_runs import FeatureOptions, ScreenFolder, profile_asked
from codi_int.cli._job import Kept, run_folder, run_job
from codi_int.cli._signature import with_options
from codi_int.errors import ConfigError
from codi_int.files import write_json

if TYPE_CHECKING:
    from codi_int.features.neuronpedia import NeuronpediaSource
    from codi_int.features.profiles import Profiles

NAME, SCHEMA = "features-export.json", "codi-int/features-export@1"


@dataclass(frozen=True, kw_only=True)
class ExportOptions(FeatureOptions):
    """Which SAE, and what it is called there."""

    screen: ScreenFolder = None
    model_id: Annotated[
        str | None, o.where("--model-id", metavar="NAME", help="The model on Neuronpedia.  [default: its name here]")
    ] = None
    source_id: Annotated[
        str | None,
        o.where("--source-id", metavar="NAME", help="The SAE on Neuronpedia.  [default: by its site, such as 14-p3]"),
    ] = None


@dataclass(frozen=True)
class Export:
    """Batches, and what they are of."""

    batches: Sequence[dict[str, Any]]
    """as Neuronpedia's client sends them"""
    source: "NeuronpediaSource"
    """where they go"""
    profiles: "Profiles"
    """what they were made from"""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        profiles = self.profiles
        return {
            "schema": SCHEMA,
            "model_id": self.source.model_id,
            "source_id": self.source.source_id,
            "model": None if profiles.model is None else profiles.model.name,
            "sae": profiles.sae.name,
            "sae_sha256": profiles.sae.sha256,
            "site": str(profiles.site),
            "data": profiles.data,
            "n_problems": profiles.n_problems,
            "n_features": len(profiles),
            "d_sae": profiles.d_sae,
            "n_with_effect": sum(row.causal is not None for row in profiles),
            "files": names_of(self.batches),
        }


@with_options
def export(options: ExportOptions) -> None:
    """Write the alive features of an SAE, with their effects, as files that Neuronpedia's client uploads.

    Nothing is sent. Without --sae, --layer and --position: those of the shipped SAE at layer 14, position 3.
    Example: codi-int features export --layer 14 --position 3 --screen runs/screen --out runs/neuronpedia
    """
    from codi_int.cli._feature_pages import export_page

    if options.out is None:
        raise ConfigError("--out is missing: the files have to go somewhere.", "Write --out and a folder.")
    folder = run_folder(options)

    def work(report: Any) -> Export:
        from codi_int.features.neuronpedia import NeuronpediaSource, default_source, neuronpedia_batches
        from codi_int.features.rule_table import compare_rules

        # names that cannot be are said before the model is loaded
        given = NeuronpediaSource(options.model_id or "model", options.source_id or "source")
        profiles = profile_asked(options, folder, report, screen=options.screen)
        own = default_source(profiles)
        source = NeuronpediaSource(
            given.model_id if options.model_id else own.model_id,
            given.source_id if options.source_id else own.source_id,
        )
        rules = compare_rules(profiles) if profiles.has_steps and len(profiles) else None
        return Export([*neuronpedia_batches(profiles, rules, source)], source, profiles)

    run_job(
        work,
        document=Export.to_dict,
        page=lambda found: export_page(found.to_dict()),
        as_json=options.as_json,
        out=folder,
        keep=_keep,
    )


def names_of(batches: Sequence[dict[str, Any]]) -> list[str]:
    """A file for each batch."""
    return [f"neuronpedia-{number:03d}.json" for number in range(len(batches))]


def _keep(found: Export, out: Path) -> Kept:
    names = names_of(found.batches)
    for name, batch in zip(names, found.batches, strict=True):
        write_json(out / name, batch)
    write_json(out / NAME, found.to_dict(), indent=1)
    return Kept((NAME, *(names if len(names) < 3 else [names[0], "...", names[-1]])), files=(NAME, *names))
