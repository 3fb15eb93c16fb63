"""`codi-int features show`: one feature, or a few, in full."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from codi_int.cli import _complete
from codi_int.cli import _options as o
from codi_int.cli._feature_runs import FeatureOptions, ScreenFolder, profile_asked
from codi_int.cli._job import Kept, run_folder, run_job
from codi_int.cli._signature import with_options
from codi_int.files import write_csv, write_json

if TYPE_CHECKING:
    from codi_int.features.details import FeatureDetail

NAME, SCHEMA = "features-show", "codi-int/features-show@1"


@dataclass(frozen=True, kw_only=True)
class ShowOptions(FeatureOptions):
    """Which features of which SAE."""

    features: Annotated[
        tuple[int, ...],
        o.what("--feature", metavar="N", help="Which: 449, or 3-6,9.", autocompletion=_complete.features),
        o.parse_features,
    ]
    screen: ScreenFolder = None
    top: Annotated[
        int, o.output(parser=o.whole("--top", least=1), metavar="N", help="Problems, words and neighbours to show.")
    ] = 5


@with_options
def show(options: ShowOptions) -> None:
    """One feature in full: where it fires most, on what problems, what its decoder row reads as, what is like it.

    With --screen also what removing it did. Example: codi-int features show --feature 449 --layer 14
    """
    from codi_int.cli._feature_pages import detail_pages

    folder = run_folder(options)

    def work(report: Any) -> "tuple[FeatureDetail, ...]":
        from codi_int.features.details import describe_feature

        found = profile_asked(options, folder, report, answers=True, screen=options.screen, features=options.features)
        return tuple(describe_feature(found, feature, options.top) for feature in options.features)

    run_job(work, document=_document, page=detail_pages, as_json=options.as_json, out=folder, keep=_keep)


def _document(found: "tuple[FeatureDetail, ...]") -> dict[str, Any]:
    from codi_int.records import flatten

    return {"schema": SCHEMA, "features": [flatten(one) for one in found]}


def _keep(found: "tuple[FeatureDetail, ...]", out: Path) -> Kept:
    document = _document(found)
    write_json(out / f"{NAME}.json", document)
    groups = [
        {"feature": one["profile"]["feature"], **group} for one in document["features"] for group in one["groups"]
    ]
    write_csv(out / f"{NAME}.csv", groups, list(groups[0]) if groups else ["feature"])
    return Kept((f"{NAME}.json", f"{NAME}.csv"), [(document, out)])
