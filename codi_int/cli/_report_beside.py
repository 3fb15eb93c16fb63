"""What lies beside the document of a kept run, for its report: other dictionaries, attribution, confirmations."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from codi_int.errors import DataError
from codi_int.files import read_json_object
from codi_int.records import unflatten

if TYPE_CHECKING:
    from codi_int.interventions.patching.patch import ValueContrast
    from codi_int.interventions.patching.predicted import PredictedResult
    from codi_int.interventions.screens.agreement import Agreement
    from codi_int.interventions.screens.dictionaries import DictionaryComparison, SeedComparison

AGAIN = "Run the command again."
SEEDS, AGAINST, CONTRAST, CONFIRMED = "seeds.json", "against.json", "contrast.json", "confirmation.json"


@dataclass(frozen=True)
class BesideScreen:
    """What a screen's folder holds besides the screen."""

    agreements: "Sequence[Agreement]" = ()
    """how good the attribution was, where one ordered the screen"""
    seeds: "SeedComparison | None" = None
    """its features in dictionaries of other seeds"""
    against: "DictionaryComparison | None" = None
    """whole dictionaries beside it"""

    def sections(self, top: int) -> list[RenderableType]:
        """What the page says of other dictionaries, with at most `top` features side by side."""
        from codi_int.cli._dictionary_pages import against_section, seeds_section

        seeds = [] if self.seeds is None else seeds_section(self.seeds, top)
        return [*seeds, *([] if self.against is None else against_section(self.against))]


def beside_screen(folder: Path) -> BesideScreen:
    """What lies beside a screen; nothing where nothing does.

    Raises:
        DataError: a file that is not whole.
    """
    from codi_int.interventions.screens.agreement import Agreement
    from codi_int.interventions.screens.dictionaries import DictionaryComparison, SeedComparison

    rows = _document(folder, "screen.json").get("agreement") or []
    return BesideScreen(
        agreements=[_record(Agreement, row, folder / "screen.json") for row in rows],
        seeds=_beside(SeedComparison, folder, SEEDS),
        against=_beside(DictionaryComparison, folder, AGAINST),
    )


def contrast_of(folder: Path) -> "ValueContrast | None":
    """How patches of the same value and of another one compare; None where there is one kind."""
    from codi_int.interventions.patching.patch import ValueContrast

    found: ValueContrast | None = _beside(ValueContrast, folder, CONTRAST)
    return found


def confirmation_words(folder: Path, results: "Sequence[PredictedResult]") -> str | None:
    """What was confirmed of a patch, as its command said it; None where nothing was to be."""
    from codi_int.cli._patched import Found
    from codi_int.interventions.patching.claims import ConfirmedClaim

    document = _document(folder, CONFIRMED)
    if not document:
        return None
    claims = tuple(_record(ConfirmedClaim, row, folder / CONFIRMED) for row in document.get("claims", ()))
    return Found(results, (), None, claims=claims, confirmed_on=document.get("on")).confirmation_words()


def _beside(kind: type[Any], folder: Path, name: str) -> Any:
    document = _document(folder, name)
    return _record(kind, document, folder / name) if document else None


def _document(folder: Path, name: str) -> dict[str, Any]:
    """Empty where there is none."""
    return read_json_object(folder / name, remedy=AGAIN) if (folder / name).is_file() else {}


def _record(kind: type[Any], row: Any, file: Path) -> Any:
    try:
        return unflatten(kind, {name: value for name, value in row.items() if name != "schema"})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file} is not whole: {error!r}.", AGAIN) from None
