"""Do latents tell wrong answers from right ones, TopK's better than Matryoshka's? docs/results/probes.md.

    python benchmarks/error_prediction.py

At least 400 wrong answers of fresh stories, with as many right ones of the same number of steps; logistic probes would
take hours in every fold, so ridge, as everywhere. The Matryoshka SAE is trained by the recipe of the shipped one.
"""

from typing import Any

import _common as common
import numpy as np
import specialization_curves as curves

import codi_int as ci
from codi_int.probes.activations import rows_at, words_of
from codi_int.probes.scores import Scored
from codi_int.probes.targets import label_problems, parse_target
from codi_int.probes.task import ProbeSettings, prepare_task
from codi_int.probes.wrong import collect_errors, fresh_stories
from codi_int.sae import SAE, Provenance, SAETrainingConfig, load_sae, save_sae, train_sae
from codi_int.sae.metrics import explained_variance
from codi_int.types import Site

PAGE = common.DOCS_RESULTS / "probes.md"
RUNS = common.ROOT / "runs" / "error-prediction"
SITE, WRONG, KS = Site(14, 3), 400, (1, 4, 16, 64, None)


def matryoshka(quick: bool) -> SAE:
    """Nested TopK of the shipped shape, trained once."""
    folder = RUNS.with_name(f"{RUNS.name}-quick") if quick else RUNS
    if not (folder / "cfg.json").is_file():
        x = curves.Rows(quick).at(SITE, "train")
        config = SAETrainingConfig(d_sae=512, k=16, architecture="matryoshka", epochs=2 if quick else 25)
        save_sae(train_sae(x, config, Provenance(site=SITE, model="codi-mini")).sae, folder)
    return load_sae(folder)


def main() -> None:
    options = common.arguments(__doc__).parse_args()
    model = ci.load_model("codi-mini")
    sources: dict[str, SAE | None] = {
        "residual": None,
        "TopK": load_sae(f"codi-mini/{SITE}"),
        "Matryoshka": matryoshka(options.quick),
    }
    sets = fresh_stories(200 if options.quick else None)
    problems, correct = collect_errors(model, sets, 6 if options.quick else WRONG, progress=lambda *done: print(*done))
    settings = ProbeSettings(source="latents", folds=3 if options.quick else 5)
    labels = label_problems(parse_target("correct"), problems, correct, settings.folds)
    task = prepare_task(labels, problems, settings)
    batch = model.think(problems, capture=[SITE])
    scored: dict[tuple[str, int | None], Scored] = {}
    words, _ = task.score(words_of(model, [problems[i] for i in labels.rows]))
    for name, sae in sources.items():
        rows = rows_at(batch, SITE, labels.rows, sae)
        for k in KS if sae is not None else (None,):
            scored[name, k], _ = task.score(rows, k)
            print(name, k, scored[name, k].estimate, flush=True)
    controls = {name: task.score_controls(rows_at(batch, SITE, labels.rows, sae)) for name, sae in sources.items()}
    x = batch.at(SITE).values
    explained = {name: explained_variance(x, x - sae(x)) for name, sae in sources.items() if sae is not None}
    lines = table(scored, words, controls, explained)
    head = (
        f"{int(np.sum([not ok for ok in correct])):,} wrong and {int(np.sum(correct)):,} right answers of "
        f"{problems.name.removesuffix(', wrong and right')}; balanced accuracy at {SITE} on other calculations, "
        f"chance is 0.500; the words of the question give {shown(words)}."
    )
    common.write(
        "error_prediction", {"n": len(problems), "lines": lines, "explained_variance": explained}, options.quick
    )
    print(head, *lines, sep="\n")
    if not options.quick:
        common.fill_page(PAGE, "error prediction", "\n".join([head, "", *lines]), code=False)


def table(
    scored: dict[tuple[str, int | None], Scored],
    words: Scored,
    controls: dict[str, Scored],
    explained: dict[str, float],
) -> list[str]:
    lines = ["| latents used | TopK | Matryoshka | TopK less Matryoshka |", "|---|---|---|---|"]
    for k in KS:
        a, b = scored["TopK", k], scored["Matryoshka", k]
        lines.append(f"| {'all' if k is None else k} | {shown(a)} | {shown(b)} | {shown(a.minus(b), '+')} |")
    a, b, residual = scored["TopK", None], scored["Matryoshka", None], scored["residual", None]
    lines += [
        f"| less the residual's {shown(residual)} | {shown(a.minus(residual), '+')} | "
        f"{shown(b.minus(residual), '+')} | |",
        f"| selectivity | {shown(a.minus(controls['TopK']), '+')} | {shown(b.minus(controls['Matryoshka']), '+')} | |",
        f"| beyond the question's words | {shown(a.minus(words), '+')} | {shown(b.minus(words), '+')} | |",
        f"| EV of these stories | {explained['TopK']:.3f} | {explained['Matryoshka']:.3f} | |",
    ]
    return lines


def shown(score: Scored, sign: str = "") -> str:
    one: Any = score.estimate
    return f"{one.value:{sign}.3f} ({one.low:{sign}.3f} to {one.high:{sign}.3f})"


if __name__ == "__main__":
    main()
