"""`codi-int features pairs`: which two specialists to swap, and whether it would show anything."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from codi_int.cli import _complete
from codi_int.cli import _options as o
from codi_int.cli._feature_runs import FeatureOptions, profile_sides
from codi_int.cli._job import Kept, run_folder, run_job
from codi_int.cli._signature import with_options
from codi_int.files import write_csv, write_json

if TYPE_CHECKING:
    from codi_int.features.pairs import SwapPairs

NAME, SCHEMA = "features-pairs", "codi-int/features-pairs@1"


@dataclass(frozen=True, kw_only=True)
class PairsOptions(FeatureOptions):
    """Which SAE, and on which problems a swap would be run."""

    confirm: Annotated[
        str,
        o.evidence(
            metavar="NAME",
            help="Where specialists are confirmed: default (stories:confirmation for stories, else folds), folds, or "
            "other problems.",
            autocompletion=_complete.data,
        ),
    ] = "default"
    top: Annotated[int, o.output(parser=o.whole("--top", least=1), metavar="N", help="Pairs to show by each rule.")] = (
        10
    )


@with_options
def pairs(options: PairsOptions) -> None:
    """Pairs of specialists of different operations or numbers, by the tested and the published rule, with their power.

    What --out keeps, swap takes: codi-int swap --pairs FOLDER --layer 14. Example: codi-int features pairs --layer 14
    """
    from codi_int.cli._specialization_pages import pairs_page

    folder = run_folder(options, free=("top",))

    def work(report: Any) -> "tuple[SwapPairs, SwapPairs]":
        from codi_int.features.pairs import swap_pairs
        from codi_int.features.specialization import specialization

        ((profiles, confirming),) = profile_sides(options, folder, report, options.confirm)
        tested = specialization(profiles, "tested", confirming)
        return swap_pairs(profiles, tested), swap_pairs(profiles, specialization(profiles, "published"))

    run_job(
        work,
        document=_document,
        page=lambda found: pairs_page(found, options.top),
        as_json=options.as_json,
        out=folder,
        keep=_keep,
    )


def _document(found: "tuple[SwapPairs, SwapPairs]") -> dict[str, Any]:
    return {"schema": SCHEMA, "tested": found[0].to_dict(), "published": found[1].to_dict()}


def _keep(found: "tuple[SwapPairs, SwapPairs]", out: Path) -> Kept:
    from codi_int.features.pairs import SwapPair

    document = _document(found)
    write_json(out / f"{NAME}.json", document)
    rows = [{"rule": one.rule, **row} for one in found for row in one.to_dict()["rows"]]
    write_csv(out / f"{NAME}.csv", rows, ["rule", *SwapPair.__dataclass_fields__])
    return Kept((f"{NAME}.json", f"{NAME}.csv"), [(document, out)])
