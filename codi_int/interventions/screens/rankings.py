"""Which features first: by what a gradient says, by what ablating each one does, or by how often each fires."""

from collections.abc import Sequence

from codi_int.errors import ConfigError
from codi_int.interventions.engine.controls import feature_stats
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.screens.attribution import attribute
from codi_int.interventions.screens.screen import ScreenRow, run_screen
from codi_int.interventions.screens.sides import NONE, SelectionPlan
from codi_int.progress import Progress
from codi_int.types import Problem, Site

ORDERS = ("attribution", "screen", "frequency")


def rank_features(
    engine: FeatureInterventionEngine,
    problems: Sequence[Problem],
    order: str,
    seed: int = 0,
    site: Site | None = None,
    progress: Progress | None = None,
) -> tuple[int, ...]:
    """All features of a site, the strongest first, equal ones by index.

    Args:
        engine: model and SAE.
        problems: on which problems.
        order: `attribution`: by the predicted change of the clean answer's log-probability, mean magnitude over the
            problems; `screen`: by the size of the mean change that ablating the feature alone really makes, which takes
            a whole screen; `frequency`: by the share of problems on which it fires.
        seed: of the screen.
        site: which of the engine's sites; may be left out where it has one.
        progress: called with (stage, done, total).

    Raises:
        ConfigError: for an unknown order.
    """
    if order not in ORDERS:
        raise ConfigError(f"order={order!r} does not exist.", f"It is one of {', '.join(ORDERS)}.")
    context = engine.site_context(problems, site, progress)
    if order == "attribution":
        return attribute(engine, context).order()
    if order == "screen":
        # it ranks and claims nothing, so nothing is to be confirmed
        plan = SelectionPlan(confirm=NONE)
        found = run_screen(engine, problems, seed=seed, site=context.site, progress=progress, selection=plan)
        return strongest(found.rows)
    # the SAE's decoder norms only serve the edit sizes, which are not used here
    rates = feature_stats(context.latents, context.sae.W_dec.detach().float().norm(dim=1)).firing_rate
    return tuple(rates.argsort(descending=True, stable=True).tolist())


def strongest(rows: Sequence[ScreenRow]) -> tuple[int, ...]:
    """Features of a screen of one site by the size of their mean change of the log-probability."""
    # sorted is stable and the rows are in the order of the features, so equal ones stay by index
    return tuple(row.feature for row in sorted(rows, key=lambda row: -abs(row.logprob)))
