"""Every measure of some SAEs of one model, beside each other."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from codi_int.data.problems import problems_sha256
from codi_int.errors import ConfigError, SAEError
from codi_int.model.hooked import CodiModel
from codi_int.notes import give, sae_notes
from codi_int.progress import Progress
from codi_int.records import flatten
from codi_int.sae.activations import HELD_OUT, TRAIN, Activations
from codi_int.sae.base import SAE, check_fits, check_host
from codi_int.sae.compare import DecoderStructure, GridPoint, decoder_structure, relative_efficiency
from codi_int.sae.metrics import SAEMetrics, measure
from codi_int.sae.spliced import SplicedMetrics, measure_spliced_all
from codi_int.sae.stability import Stability, reseed_stability
from codi_int.sae.sweep_table import spliced_measures
from codi_int.sae.transcoding import RidgeComparison, Rows, compare_with_ridge
from codi_int.types import Problem, Site

Report = Progress
"""called with (stage, done, total)"""
SCHEMA = "codi-int/sae-eval@1"


@dataclass(frozen=True)
class EvaluatedSAE:
    """All measures of one SAE."""

    name: str
    """what it was called"""
    site: Site
    """where it was measured"""
    trained_as: str
    """architecture of the training run, such as `matryoshka`, where that is known; else of the SAE"""
    rule: str | None
    """`abs` or `relu` for TopK SAEs"""
    k: int | None
    """features kept, for TopK SAEs"""
    d_sae: int
    """features"""
    seed: int | None
    """seed of the training run"""
    held_out: SAEMetrics
    """on held-out rows"""
    train: SAEMetrics | None
    """on training rows, where those were given"""
    structure: DecoderStructure | None
    """cosines between decoder rows; None with one feature"""
    spliced: SplicedMetrics | None
    """what it costs the model, where that was measured; None for a transcoder"""
    target: Site | None = None
    """of a transcoder: the site that it rebuilds"""
    ridge: RidgeComparison | None = None
    """of a transcoder, where training rows were given: ridge regression beside it"""

    def point(self) -> GridPoint:
        """For fronts and efficiency; dead on training rows where known, as published, else on held-out ones."""
        seen, k = self.train or self.held_out, self.k or round(self.held_out.l0)
        return GridPoint(
            name=self.name,
            k=k,
            d_sae=self.d_sae,
            explained_variance=self.held_out.explained_variance,
            dead_share=seen.dead_share,
        )

    def row(self) -> dict[str, Any]:
        """Everything as one plain dict; the names are those of a sweep's table."""
        point = self.point()
        return {
            "name": self.name,
            "site": str(self.site),
            "trained_as": self.trained_as,
            "rule": self.rule,
            "k": self.k,
            "d_sae": self.d_sae,
            "seed": self.seed,
            "dead_share_train": self.train.dead_share if self.train else None,
            "n_active": point.n_active,
            "explained_variance_per_active_feature": point.per_active_feature,
            **self.held_out.summary(),
            "mean_nearest_cosine": self.structure.mean_nearest if self.structure else None,
            "mean_abs_cosine": self.structure.mean_abs_cosine if self.structure else None,
            **spliced_measures(self.spliced),
            **self._ridge(),
        }

    def _ridge(self) -> dict[str, Any]:
        """Columns of a transcoder; none for SAEs, whose rows stay as they are."""
        if self.target is None:
            return {}
        found = {} if self.ridge is None else flatten(self.ridge)
        names = [name for name in RidgeComparison.columns if name not in ("source", "target", "k")]
        return {"target": str(self.target), **{f"ridge_{name}": found.get(name) for name in names}}


@dataclass(frozen=True)
class SAEEvaluation:
    """Some SAEs of one model."""

    model: str
    """name of the model"""
    model_sha256: str
    """hash of its weights"""
    held_out: str
    """name of the held-out problems"""
    data_sha256: str
    """hash of them"""
    saes: tuple[EvaluatedSAE, ...]
    """in the order given"""
    stability: tuple[Stability, ...]
    """pairs that differ in their seed alone"""
    notes: tuple[str, ...]
    """what a reader should know besides"""

    def times_matryoshka(self) -> dict[str, float | None]:
        """Explained variance per active feature as a multiple of that of the first Matryoshka SAE of the same site."""
        found: dict[str, float | None] = {}
        for sae in self.saes:
            others = [other for other in self.saes if other.site == sae.site and other.trained_as == "matryoshka"]
            if others:
                found[sae.name] = relative_efficiency([sae.point()], others[0].point())[0]
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        times = self.times_matryoshka()
        known = {name: getattr(self, name) for name in ("model", "model_sha256", "held_out", "data_sha256")}
        return {
            "schema": SCHEMA,
            **known,
            "saes": [{**sae.row(), "times_matryoshka": times.get(sae.name)} for sae in self.saes],
            "stability": [asdict(pair) for pair in self.stability],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class EvaluationData:
    """What SAEs are measured on."""

    name: str
    """name of the held-out problems"""
    problems: Sequence[Problem]
    """the held-out problems"""
    held_out: Activations
    """their activations"""
    train_problems: Sequence[Problem] | None = None
    """the training problems, where measures on them are wanted"""
    train: Activations | None = None
    """their activations"""


def evaluate_saes(
    model: CodiModel,
    saes: Mapping[str, SAE],
    sites: Mapping[str, Site],
    data: EvaluationData,
    splice: bool = True,
    progress: Progress | None = None,
) -> SAEEvaluation:
    """Measure some SAEs.

    Args:
        saes: name to SAE.
        sites: name to the site where it is measured, see `site_of`.
        splice: whether to run the model with each SAE spliced in.

    Raises:
        ConfigError: no SAEs.
        SAEError: an SAE that does not fit model and site.
        DataError: NaN, inf or constant activations.
    """
    # everything is checked before the model runs: a misfit is found in seconds, not after the first SAEs
    check_saes(model, saes, sites)
    # a transcoder stands for the way between two sites and rebuilds none of them, so there is no place to splice it in
    whole = {name: sae for name, sae in saes.items() if not sae.is_transcoder}
    costs = _spliced(model, whole, sites, data.problems, progress) if splice and whole else {}
    found: list[EvaluatedSAE] = []
    for name, sae in saes.items():
        evaluated = _evaluated(
            model,
            name=name,
            sae=sae,
            site=sites[name],
            data=data,
            spliced=costs.get(name),
        )
        found.append(evaluated)
        if progress:
            progress("SAEs measured", len(found), len(saes))
    # alive on held-out rows, so that SAEs trained on different rows are judged by the same ones
    alive = {row.name: row.held_out.activation_frequency > 0 for row in found}
    warned = [note for row in found for note in _doubts(row)]
    give(warned)
    notes = (*warned, *_notes(saes, data.train_problems))
    return SAEEvaluation(
        model=model.name,
        model_sha256=model.sha256,
        held_out=data.name,
        data_sha256=problems_sha256(data.problems),
        saes=tuple(found),
        stability=reseed_stability(whole, sites, alive),
        notes=notes,
    )


def check_saes(model: CodiModel, saes: Mapping[str, SAE], sites: Mapping[str, Site]) -> None:
    """ConfigError without SAEs, SAEError or SiteError for one that does not fit the model and its site."""
    if not saes:
        raise ConfigError("There are no SAEs to measure.", "Give at least one.")
    for name, sae in saes.items():
        site = model.check_site(sites[name])
        if not sae.is_transcoder:
            check_fits(sae, model, site)
            continue
        check_host(sae, model)
        if sae.site not in (None, site):
            raise SAEError(f"{name} reads {sae.site}, not {site}.", f"Measure it at {sae.site}.")
        model.check_site(target_of(name, sae))
        if sae.d_out != model.d_model:
            raise SAEError(
                f"{name} rebuilds activations of width {sae.d_out}; the model's d_model is {model.d_model}.",
                "Use one that was trained on this model.",
            )


def target_of(name: str, sae: SAE) -> Site:
    """The site that a transcoder rebuilds; SAEError where it does not say."""
    if sae.target is None:
        raise SAEError(
            f"{name} does not say which site it rebuilds.", 'Write it into cfg.json: "metadata": {"target": "L14.P4"}.'
        )
    return sae.target


def site_of(name: str, sae: SAE, layer: int | None = None, position: int | None = None) -> Site:
    """The site of an SAE: its own, or else the one that is named; SAEError where neither tells."""
    if sae.site is not None and layer is None and position is None:
        return sae.site
    layer = layer if layer is not None or sae.site is None else sae.site.layer
    position = position if position is not None or sae.site is None else sae.site.position
    if layer is None or position is None:
        raise SAEError(f"{name} does not say at which site it was trained.", "Give --layer and --position.")
    return Site(layer, position)


def trained_as(sae: SAE) -> str:
    """The architecture of the training run where it is known: BatchTopK and Matryoshka are saved as others."""
    return str(sae.config.provenance.recipe.get("architecture", sae.config.architecture))


def _evaluated(
    model: CodiModel, name: str, sae: SAE, site: Site, data: EvaluationData, spliced: SplicedMetrics | None
) -> EvaluatedSAE:
    target = target_of(name, sae) if sae.is_transcoder else None

    def rows(where: Activations) -> SAEMetrics:
        rebuilt = None if target is None else where.at(target).values.to(model.device)
        return measure(sae, where.at(site).values.to(model.device), rebuilt)

    # the config has a rule for every architecture, but only TopK ranks by it
    topk = sae.config.architecture == "topk"
    return EvaluatedSAE(
        name=name,
        site=site,
        trained_as=trained_as(sae),
        rule=sae.config.rule if topk else None,
        k=sae.config.k,
        d_sae=sae.d_sae,
        seed=sae.config.provenance.seed,
        held_out=rows(data.held_out),
        train=rows(data.train) if data.train else None,
        # cosines between rows take two of them
        structure=decoder_structure(sae) if sae.d_sae > 1 else None,
        spliced=spliced,
        target=target,
        ridge=None if target is None or data.train is None else _against_ridge(model, sae, (site, target), data),
    )


def _against_ridge(model: CodiModel, sae: SAE, sites: tuple[Site, Site], data: EvaluationData) -> RidgeComparison:
    def rows(where: Activations) -> Rows:
        return Rows(*(where.at(site).values.to(model.device) for site in sites))

    assert data.train is not None
    return compare_with_ridge(sae, rows(data.train), rows(data.held_out), data.problems)


def _spliced(
    model: CodiModel,
    saes: Mapping[str, SAE],
    sites: Mapping[str, Site],
    problems: Sequence[Problem],
    progress: Progress | None,
) -> dict[str, SplicedMetrics]:
    """The measures of every SAE spliced in; SAEs of one site share a clean pass."""
    costs: dict[str, SplicedMetrics] = {}
    # dict.fromkeys: distinct sites in the order of the SAEs, which a set would not keep
    for site in dict.fromkeys(sites[name] for name in saes):
        names = [name for name in saes if sites[name] == site]
        found = measure_spliced_all(
            model,
            [saes[name] for name in names],
            site=site,
            problems=problems,
            progress=progress,
        )
        costs |= dict(zip(names, found, strict=True))
    return costs


def _doubts(row: EvaluatedSAE) -> tuple[str, ...]:
    if row.target is not None:  # the target may hold little of what it reads; ridge regression tells
        return ()
    spliced = row.spliced
    accuracies = None if spliced is None else (spliced.accuracy_clean, spliced.accuracy_spliced)
    return sae_notes(row.name, row.held_out.explained_variance, accuracies)


def _notes(saes: Mapping[str, SAE], train_problems: Sequence[Problem] | None) -> tuple[str, ...]:
    """Warns where the training rows are not those that an SAE was trained on."""
    if train_problems is None:
        return (f"Nothing was measured on {TRAIN}ing rows: dead shares are those on {HELD_OUT} rows.",)
    # an SAE that does not say what it was trained on is not warned about: nothing is known to be wrong
    own = problems_sha256(train_problems)
    others = [name for name, sae in saes.items() if sae.config.provenance.data_sha256 not in (None, own)]
    if not others:
        return ()
    which = others[0] if len(others) == 1 else f"{len(others)} of {len(saes)} SAEs"
    return (f"The training rows are not those that {which} saw in training (other data or another limit).",)
