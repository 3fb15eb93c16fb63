"""The published experiment that was planned and not run: ablate frequent and rare features, and one by operation."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from codi_int.features.profiles import Profiles
from codi_int.features.specialization import specialization
from codi_int.interventions.edits.basic import Ablate
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.screens.screen import run_screen
from codi_int.interventions.screens.screen_records import ScreenRow
from codi_int.interventions.screens.sides import FOLDS, SelectionPlan
from codi_int.model.hooked import CodiModel
from codi_int.progress import Progress
from codi_int.runs.reproduce_dictionaries import HELD_OUT_FOLDER, profile_kept, read_wanted, train_wanted
from codi_int.runs.reproduction import Honest, Line, ReproductionPlan
from codi_int.sae.store import load_sae
from codi_int.types import Result

POINTS = 100


def run_ablations(
    model: CodiModel, plan: ReproductionPlan, folder: Path, progress: Progress | None
) -> tuple[tuple[str, ...], tuple[Line, ...]]:
    """Ablate the most frequent features and the rarest, each alone, and one operation specialist by operation.

    Returns:
        what was trained, and the lines of the tables.
    """
    settings = plan.experiment.settings
    (wanted,) = read_wanted(plan, model.d_model, model.n_layers)
    row = train_wanted(model, plan, [wanted], folder, progress)[wanted.site, wanted.d_sae, wanted.k][0]
    sae = load_sae(row.folder, device=str(model.device))
    profiles = profile_kept(
        model, sae, wanted.site, (plan.problems, plan.data), folder / HELD_OUT_FOLDER, progress=progress
    )
    count = min(settings["features"], len(profiles) // 2)
    top, rare = profiles[:count], profiles[len(profiles) - count :]
    engine = FeatureInterventionEngine(model, {wanted.site: sae})
    screen = run_screen(
        engine,
        plan.problems,
        [one.feature for one in (*top, *rare)],
        selection=SelectionPlan(confirm=FOLDS if plan.confirming is None else plan.confirming),
        progress=progress,
        data=plan.data,
        sae_name=wanted.name,
    )
    by_feature = {one.feature: one for one in screen.rows}
    lines = [
        *_group(
            f"the {count} most frequent", [by_feature[one.feature] for one in top], settings["top"], len(plan.problems)
        ),
        *_group(f"the {count} rarest", [by_feature[one.feature] for one in rare], settings["rare"], len(plan.problems)),
    ]
    specialist = find_specialist(profiles)
    words = [
        f"{wanted.name}: K = {wanted.k} of d_sae {wanted.d_sae:,} at {wanted.site}, {len(profiles)} features alive"
    ]
    if specialist is None:
        words.append(
            "no feature is specialized in an operation by the published rule, so none was ablated by operation"
        )
    else:
        feature, operation, rate = specialist
        words.append(
            f"feature {feature}, {operation} by the published rule, fires on {POINTS * rate:.1f} % of problems"
        )
        result = engine.run(Ablate(feature), plan.problems, controls=None, progress=progress)
        lines += _by_operation(f"feature {feature} ({operation}) ablated", result)
    return tuple(words), tuple(lines)


def find_specialist(profiles: Profiles) -> tuple[int, str, float] | None:
    """The most frequent operation specialist by the published rule: feature, operation, firing rate."""
    found = specialization(profiles, "published").rows
    first = next((row for row in found if row.type == "operation-specialized"), None)
    return None if first is None else (first.feature, first.label, first.firing_rate)


def _group(
    subject: str, rows: Sequence[ScreenRow], forecast: Mapping[str, float | int], n_problems: int
) -> Iterator[Line]:
    """How many features do what was forecast of all, and one line for each, in points."""
    least, most = forecast["least_points"], forecast["most_points"]
    tested = [_in_points(row, n_problems) for row in rows]
    changes = [POINTS * row.effect.accuracy.value for row in rows]
    inside = [
        one for one in tested if one.low is not None and one.high is not None and least <= one.low and one.high <= most
    ]
    yield Line(
        subject=subject,
        measure=f"features that change accuracy by {least:g} to {most:g} points (forecast of all)",
        unit="",
        published=float(len(rows)),
        here=float(sum(least <= change <= most for change in changes)),
        honest=Honest(
            value=float(len(inside)),
            low=None,
            high=None,
            n=len(rows),
            method="features whose whole interval lies there",
        ),
    )
    for row, change, found in zip(rows, changes, tested, strict=True):
        yield Line(
            subject=subject,
            measure=f"feature {row.feature}, fires on {POINTS * row.firing_rate:.1f} %",
            unit="points",
            here=change,
            honest=found,
        )


def _in_points(row: ScreenRow, n_problems: int) -> Honest:
    """The change of accuracy: of what was selected, the one on problems that did not select it."""
    again = row.confirmation
    accuracy = row.effect.accuracy if again is None else again.accuracy
    low, high = (None if end is None else POINTS * end for end in (accuracy.low, accuracy.high))
    return Honest(
        value=POINTS * accuracy.value,
        low=low,
        high=high,
        n=n_problems if again is None else again.n,
        method="accuracy, exact sign flips by cluster, p corrected over all ablated features; of selected ones on the "
        "problems that confirm; n: problems",
        p_value=accuracy.p_adjusted,
    )


def _by_operation(subject: str, result: Result) -> Iterator[Line]:
    """The change on problems with each operation, and that minus the change on those without."""
    for row in result.by_operation:
        contrast = row.contrast
        honest = None
        if contrast is not None:
            low, high = (None if end is None else POINTS * end for end in (contrast.low, contrast.high))
            honest = Honest(
                value=POINTS * contrast.value,
                low=low,
                high=high,
                n=result.effect.n,
                method="with the operation minus without, steps by steps; permutation of clusters, Holm; n: problems",
                p_value=contrast.p_adjusted,
            )
        yield Line(
            subject=subject,
            measure=row.operation,
            unit="points",
            here=POINTS * row.accuracy.value,
            here_n=row.n,
            honest=honest,
        )
