"""What public objects say of themselves at a prompt and in a notebook: a few lines, a table, and both as HTML.

Objects are told apart by the names of their classes, so that showing one does not load the packages of the others.
"""

from collections.abc import Callable, Iterator
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

ROWS = 10
"""of a table, in a notebook"""
COLUMNS, FINDINGS = 20, ("conclusion", "selected", "confirmed")
"""of a wide table: the first ones, and what each row comes to"""
PLACES = 6
"""sites that are named"""


def lines_of(shown: Any) -> list[str]:
    """The object in a few lines."""
    say = next(SAYERS[kind.__name__] for kind in type(shown).__mro__ if kind.__name__ in SAYERS)
    return list(say(shown))


def html_of(shown: Any) -> str:
    """The lines, and below them the first rows of the object's table where it has one."""
    first, *rest = map(escape, lines_of(shown))
    text = "<br>".join([f"<b>{first}</b>", *rest])
    if not hasattr(shown, "to_frame"):
        return f"<div>{text}</div>"
    frame = shown.to_frame()
    more = len(frame) - ROWS
    left = f"<br>and {more:,} rows more: .to_frame() has them all" if more > 0 else ""
    # the first columns say what was done and what came out; what is known besides would not fit beside them
    chosen = [name for i, name in enumerate(frame.columns) if i < COLUMNS or name in FINDINGS]
    if aside := len(frame.columns) - len(chosen):
        left += f"<br>and {aside:,} columns more{'' if more > 0 else ': .to_frame() has them all'}"
    table = frame[chosen].head(ROWS).to_html(index=False, border=0, float_format=_short, na_rep="")
    return f"<div>{text}{table}{left}</div>"


def frame_of(found: Any) -> "pd.DataFrame":
    """The table of a finding."""
    import pandas as pd

    from codi_int.interventions.kept import table_of

    return pd.DataFrame(table_of(found))


def _result(result: Any) -> Iterator[str]:
    done, clean, arm = result.experiment, result.arms["clean"], result.arms["intervened"]
    yield f"Result: {done.label or done.kind} at {_places(done.sites or (done.site,))} of {done.model}, SAE {done.sae}"
    yield f"{_counted(done.n_problems, 'problem')} of {done.data}, seed {done.seed}"
    yield f"accuracy {_percent(clean.accuracy)} -> {_percent(arm.accuracy)}"
    yield from _effect_lines(result.effect)


def _effect(effect: Any) -> Iterator[str]:
    yield f"Effect on {_counted(effect.n, 'problem')} ({effect.method})"
    yield from _effect_lines(effect)


def _effect_lines(effect: Any) -> Iterator[str]:
    p = "" if effect.p_value is None else f", p = {effect.p_value:.3g}"
    interval = f"{_points(effect.low)} to {_points(effect.high)}"
    flips = f"{effect.n_broken:,} broken, {effect.n_fixed:,} fixed"
    yield f"change {_points(effect.estimate)} points ({interval}){p}: {flips}"
    if effect.logprob is not None:
        found = effect.logprob
        interval = "too few problems carry it" if found.low is None else f"{found.low:+.3f} to {found.high:+.3f}"
        yield f"log-probability {found.estimate:+.3f} nats ({interval})"
    yield effect.verdict


def _family(family: Any) -> Iterator[str]:
    yield f"{_counted(len(family.results), 'result')}, tested as a family (Holm)"
    for result, p in list(zip(family.results, family.p_adjusted, strict=True))[:PLACES]:
        adjusted = "not tested" if p is None else f"adjusted p = {p:.3g}"
        yield f"{result.experiment.label}: {_points(result.effect.estimate)} points, {adjusted}"


def _screen(screen: Any) -> Iterator[str]:
    alive = sum(site.n_living for site in screen.sites)
    yield f"Screen: {screen.kind} at {_places([site.site for site in screen.sites])} of {screen.model}"
    yield f"{len(screen.rows):,} features, {alive:,} of them alive; {_setting(screen)}"
    if screen.rows:
        best = screen.ranked()[0]
        effect = f"{_points(best.estimate)} points, {best.logprob:+.3f} nats"
        yield f"strongest: feature {best.feature} at {best.site} ({effect})"
        yield from _selected(screen.selection)
    if screen.pairs:
        yield f"{_counted(len(screen.pairs), 'pair')}"


def _selected(selection: Any) -> Iterator[str]:
    """What a family came to."""
    if selection is None:
        return
    found = f"{selection.n_selected:,} of {selection.n_tested:,} tested are found in accuracy"
    on = selection.confirmed_on
    where = "" if on is None else f", {selection.n_confirmed:,} of them confirmed "
    yield found + where + ("" if on is None else "in the other fold" if on == "folds" else f"on {on}")


def _map(found: Any) -> Iterator[str]:
    cells = [cell for cell in found.cells if cell.has_path]
    yield f"ThoughtMap: {found.kind} in place of the residual at {len(found.cells):,} cells of {found.model}"
    yield f"{_setting(found)}; propagate {found.propagate}"
    if cells:
        worst = min(cells, key=lambda cell: cell.estimate)
        yield f"most is lost at {worst.site}: {_points(worst.estimate)} points, {worst.logprob:+.3f} nats"
        yield from _selected(found.selection)


def _seeds(found: Any) -> Iterator[str]:
    names = ", ".join(other.name for other in found.others)
    yield f"SeedComparison at {found.site} of {found.model}: SAE {found.own.sae} beside {names}"
    for row in found.agreements:
        if (row.measure, row.pairs) == ("probability", "all"):
            chance = "" if row.chance is None else f" (by chance {row.chance.value:.2f})"
            yield f"{row.dictionary}: effects of {row.n:,} pairs agree by {row.concordance.value:.2f}{chance}"
    for feature in dict.fromkeys(row.feature for row in found.found):
        rows = [row for row in found.found if row.feature == feature]
        yield f"feature {feature}: its effect is in {sum(row.there for row in rows)} of {len(rows)} others"


def _against(found: Any) -> Iterator[str]:
    where = f"{_counted(found.n_problems, 'problem')} of {found.data}"
    yield f"DictionaryComparison at {found.site} of {found.model}: {where}"
    for row in found.rows:
        confirmed = "" if row.n_confirmed is None else f", {row.n_confirmed:,} confirmed"
        fire = f"{row.n_living:,} of {row.n_features:,} features fire"
        yield f"{row.name}: {fire}, {row.n_selected:,} selected{confirmed}"


def _curve(curve: Any) -> Iterator[str]:
    yield f"AblationCurve: the top n of {curve.n_living:,} alive features at {curve.site} by {curve.order}"
    yield f"{_setting(curve)}; {len(curve.random)} random sets for each n"
    yield "accuracy: " + ", ".join(f"n {point.n}: {_percent(point.accuracy)}" for point in curve.top[:PLACES])


def _evaluation(found: Any) -> Iterator[str]:
    whole = found.overall
    yield f"Evaluation of {found.model} on {found.data}"
    share = f"{_percent(whole.accuracy)} ({_percent(whole.low)} to {_percent(whole.high)})"
    yield f"accuracy {share}, {whole.n_correct:,} of {whole.n:,} right, {found.n_unanswered:,} without a number"


def _stop(found: Any) -> Iterator[str]:
    yield f"EarlyStopping of {found.model} on {found.data}: {_counted(found.n_problems, 'problem')}"
    yield "right after " + ", ".join(f"{row.thoughts}: {_percent(row.accuracy)}" for row in found.overall)
    own = found.overall[found.n_thoughts]
    yield f"after its own {found.n_thoughts} thoughts {own.n_lost:,} right answers are lost again"


def _probe(found: Any) -> Iterator[str]:
    best, sites = found.best, len({row.site for row in found.rows})
    yield f"ProbeMap of {found.target} in {found.source} of {found.model}: {_counted(sites, 'site')}"
    yield f"{found.measure} by {found.method} on {_counted(found.n, 'problem')} of {found.data}"
    yield f"most selective: {best.site}, {best.score:.3f} against {best.control:.3f} of the control task"
    yield ", ".join(f"{one.name} {one.score:.3f}" for one in found.baselines[:2])


def _paths(found: Any) -> Iterator[str]:
    yield f"EffectByPath: {found.label} at {found.site}"
    for path in ("both", "cache", "recurrence"):
        effect = getattr(found, path)
        yield f"{path}: {_points(effect.estimate)} points, {effect.logprob.estimate:+.3f} nats"
    yield f"both - (cache + recurrence): {_points(found.interaction.estimate)} points"


def _comparison(found: Any) -> Iterator[str]:
    yield f"RunComparison: {found.second.name} minus {found.first.name}, {_counted(found.n, 'problem')} of both"
    accuracies = f"{_percent(found.first.accuracy)} -> {_percent(found.second.accuracy)}"
    yield f"accuracy after the edit {accuracies}; the runs differ in {', '.join(found.differs) or 'nothing'}"
    yield from _effect_lines(found.effect)


def _reproduction(found: Any) -> Iterator[str]:
    yield f"Reproduction of {found.experiment} on {found.model}: {found.question}"
    both = sum(line.published is not None and line.here is not None for line in found.lines)
    yield f"{_counted(found.n_problems, 'problem')} of {found.data}; {both} of {len(found.lines)} lines published"


def _model(model: Any) -> Iterator[str]:
    yield f"CodiModel {model.name}: {model.n_layers} layers, d_model {model.d_model}, {model.n_thoughts} thoughts"
    hooks = f", {model.n_hooks} hooks set" if model.n_hooks else ""
    yield f"{str(model.dtype).removeprefix('torch.')} on {model.device}{hooks}"


def _sae(sae: Any) -> Iterator[str]:
    config = sae.config
    k = "" if config.k is None else f", k {config.k}"
    rule = f" ({config.rule})" if config.architecture == "topk" else ""
    yield f"{type(sae).__name__} {sae.name}: {config.architecture}{rule}, d_in {sae.d_in}, d_sae {sae.d_sae:,}{k}"
    known = config.provenance
    yield f"site {known.site or known.hook_name or 'unknown'}, model {known.model or 'unknown'}"


def _engine(engine: Any) -> Iterator[str]:
    yield f"FeatureInterventionEngine on {engine.model.name} at {_places(engine.sites)}"
    saes = ", ".join(dict.fromkeys(sae.name for sae in list(engine.saes.values())[:PLACES])) or "none"
    yield f"SAEs: {saes}; splice {engine.splice}, propagate {engine.propagate}"


def _batch(batch: Any) -> Iterator[str]:
    n, thoughts, width = batch.thoughts.shape
    yield f"ThoughtBatch of {_counted(n, 'problem')}: {thoughts} thoughts, d_model {width}"
    if batch.residuals is not None:
        yield f"residuals {list(batch.residuals.shape)}: problem, layer, position, d_model"
    if batch.captured:
        yield f"captured at {_places(list(batch.captured))}"
    if batch.completions:
        yield f"{_counted(len(batch.completions), 'completion')}, first: {batch.completions[0].text.strip()!r}"


def _activations(found: Any) -> Iterator[str]:
    yield f"SiteActivations at {found.site}: values {list(found.values.shape)}: problem, d_model"


def _latents(latents: Any) -> Iterator[str]:
    n, k = latents.values.shape
    yield f"Latents of {n:,} rows: {k} of {latents.d_sae:,} features each, as values and indices"


def _capture(capture: Any) -> Iterator[str]:
    info = capture.info
    problems = _counted(len(info.problem_ids), "problem")
    yield f"Capture in {capture.folder}: {problems} of {info.data or '?'}, {info.dtype}"
    yield f"{info.model}, layers {_listed(info.layers)}, positions {_listed(info.positions)}, d_model {info.d_model}"


def _profiles(found: Any) -> Iterator[str]:
    model = "no model" if found.model is None else found.model.name
    yield f"Profiles of {len(found):,} alive of {found.d_sae:,} features at {found.site} of {model}"
    yield f"{_counted(found.n_problems, 'problem')} of {found.data or '?'}, SAE {found.sae.name}"
    if found.rows:
        first = found.rows[0]
        yield f"most frequent: feature {first.feature}, on {_percent(first.firing_rate)} of them"


def _feature(found: Any) -> Iterator[str]:
    profile = found.profile
    yield f"Feature {profile.feature} at {found.site} of {found.model or 'no model'}, SAE {found.sae}"
    yield f"fires on {profile.n_firing:,} of {_counted(profile.n_problems, 'problem')} of {found.data or '?'}"
    if found.promotes:
        yield "decoder row reads as " + ", ".join(repr(token.text.strip()) for token in found.promotes)


def _specialization(found: Any) -> Iterator[str]:
    special = sum(row.specialized for row in found.rows)
    yield f"Specialization at {found.site} of {found.model}, rule {found.rule}"
    yield f"{special:,} of {len(found.rows):,} alive features are specialized"
    yield f"{found.n_problems:,} problems of {found.data}, {found.n_chains:,} different calculations"
    if found.n_tested is not None:
        done = f"{found.n_selected:,} selected, {found.n_confirmed:,} confirmed on {found.confirmed_on}"
        yield f"{found.n_tested:,} pairs of feature and property tested, {done}"


def _pairs(found: Any) -> Iterator[str]:
    yield f"SwapPairs at {found.site} of {found.model}, rule {found.rule}: {_counted(found.n_pairs, 'pair')}"
    for row in found.rows[:PLACES]:
        told = f"{row.n_informative:,} of {row.n_needed:,} problems needed, power {row.power:.2f}"
        yield f"{row.feature} and {row.other}, {row.claim}: {told}"


def _rules(found: Any) -> Iterator[str]:
    yield f"RuleComparison at {found.tested.site} of {found.tested.model}: specialized of alive features"
    for cell in found.cells:
        if cell.population == "alive":
            yield f"{cell.rule}: {cell.n_specialized:,} of {cell.n:,}, {cell.n_single:,} of them on a single problem"


SAYERS: dict[str, Callable[[Any], Iterator[str]]] = {
    "Result": _result,
    "Effect": _effect,
    "ResultFamily": _family,
    "Screen": _screen,
    "SeedComparison": _seeds,
    "DictionaryComparison": _against,
    "ThoughtMap": _map,
    "AblationCurve": _curve,
    "Evaluation": _evaluation,
    "EffectByPath": _paths,
    "EarlyStopping": _stop,
    "ProbeMap": _probe,
    "RunComparison": _comparison,
    "Reproduction": _reproduction,
    "CodiModel": _model,
    "SAE": _sae,
    "FeatureInterventionEngine": _engine,
    "ThoughtBatch": _batch,
    "SiteActivations": _activations,
    "Latents": _latents,
    "Capture": _capture,
    "Profiles": _profiles,
    "Specialization": _specialization,
    "RuleComparison": _rules,
    "SwapPairs": _pairs,
    "FeatureDetail": _feature,
}
"""name of a class to what says its lines; a subclass goes by its nearest parent"""


def _counted(n: int, one: str) -> str:
    """`1 problem`, `1,495 problems`."""
    return f"{n:,} {one}{'s' * (n != 1)}"


def _setting(found: Any) -> str:
    return f"{_counted(found.n_problems, 'problem')} of {found.data}, {found.n_correct:,} right"


def _places(sites: Any) -> str:
    return _listed([*sites])


def _listed(values: Any) -> str:
    """A few of them by name, and how many more."""
    more = f" and {len(values) - PLACES} more" if len(values) > PLACES else ""
    return ", ".join(map(str, values[:PLACES])) + more


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(change: float) -> str:
    text = f"{100 * change:+.1f}"
    return "0.0" if float(text) == 0 else text


def _short(value: float) -> str:
    return f"{value:.4g}"
