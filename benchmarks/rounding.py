"""What rounding does to a change, and whether a clean twin in the same chunk takes it away.

    python benchmarks/rounding.py [--dtype bfloat16]

codi-mini at L14.P3: on each problem seven of its sixteen active features are ablated, from the weakest to the
strongest, and beside the seven rows stands an eighth to which nothing is done, the twin. The change of the answer's
log-probability and of its margin is measured against the clean pass and against the twin, and both are compared with
the change that the same weights give in float64. Rows that are written again in the canonical shape are left out, for a
twin in their chunk is none there. Writes benchmarks/results/rounding.json (with another dtype rounding-DTYPE.json).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import _common as common
import torch
from torch import Tensor

import codi_int as ci
from codi_int.interventions.engine.arms import ArmPlan
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.suffix import SuffixRunner
from codi_int.model.resume import SiteChange
from codi_int.types import Problem, Site

SITE = Site(14, 3)
PLACES = (0, 1, 3, 6, 9, 12, 15)
"""which of the active features, by size"""
EDGES = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, float("inf"))
"""of the sizes of true changes"""


@dataclass(frozen=True)
class Measured:
    """One run of all rows; float64, [edits, n] or [n]."""

    clean: Tensor
    """measured by the clean pass"""
    edited: Tensor
    """of every edited row"""
    twin: Tensor
    """of the rows to which nothing is done"""


def measure(problems: Sequence[Problem], dtype: str, deltas: Sequence[Tensor] | None, exact: bool) -> tuple:
    """(what is added, measures by name, rows that are left out) of one run."""
    model = ci.load_model("codi-mini", dtype=dtype)
    if exact:
        # the same weights, with arithmetic that has digits to spare
        model.hf.double()
        model.projection.double()
    engine = FeatureInterventionEngine(model, {SITE: None})
    context, n = engine.site_context(problems), len(problems)
    if deltas is None:
        deltas = weakest_to_strongest(context.activations.float())
    everyone = torch.ones(n, dtype=torch.bool)
    plans = [
        ArmPlan(f"edit {i}", torch.arange(n), (SiteChange(SITE, delta),), everyone)
        for i, delta in enumerate([*deltas, torch.zeros_like(deltas[0])])
    ]
    found = SuffixRunner(model, context.clean, context.resume_point).run(plans)
    again = torch.stack([scores.changed | scores.rerun for scores in found])
    named = {
        name: Measured(clean.double(), values[:-1], values[-1])
        for name, clean in (("logprobs", context.clean.logprobs), ("margins", context.clean.margins))
        for values in [torch.stack([getattr(scores, name) for scores in found]).double()]
    }
    return deltas, named, again[:-1] | again[-1]


def weakest_to_strongest(activations: Tensor) -> list[Tensor]:
    """What the ablation of some active features of each problem adds. [n, d_model] each"""
    sae = ci.load_sae("codi-mini/L14.P3")
    latents = sae.encode(activations).dense()
    order = latents.abs().masked_fill(latents == 0, torch.inf).argsort(1)[:, list(PLACES)]
    with torch.no_grad():
        return [-(latents.gather(1, chosen[:, None]) * sae.W_dec[chosen]) for chosen in order.T]


def compare(rounded: Measured, exact: Measured, left_out: Tensor) -> list[dict[str, object]]:
    """Errors of both ways to measure, by the size of the true change."""
    truth = exact.edited - exact.clean
    ways = {"clean pass": rounded.edited - rounded.clean, "twin": rounded.edited - rounded.twin}
    out: list[dict[str, object]] = []
    for low, high in pairwise(EDGES):
        inside = (truth.abs() >= low) & (truth.abs() < high) & ~left_out
        if not bool(inside.any()):
            continue
        row: dict[str, object] = {"true_change": f"{low:g} to {high:g}", "rows": int(inside.sum())}
        for way, change in ways.items():
            error = (change - truth)[inside]
            row |= {
                f"rms_{way}": float(error.square().mean().sqrt()),
                f"largest_{way}": float(error.abs().max()),
                f"mean_{way}": float(error.mean()),
            }
        out.append(row)
    return out


def main() -> None:
    """Both tables."""
    parser = common.arguments(__doc__)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    given = parser.parse_args()
    problems = ci.load_problems("stories:validation", limit=32 if given.quick else 256)
    deltas, rounded, left_out = measure(problems, given.dtype, None, exact=False)
    _, exact, _ = measure(problems, given.dtype, deltas, exact=True)
    out: dict[str, object] = {"dtype": given.dtype, "n_problems": len(problems), "edits": len(deltas)}
    for name in ("logprobs", "margins"):
        one = rounded[name]
        # what a row that is not edited differs by from the clean pass: a twin takes away all of this
        unedited = float((one.twin - one.clean).abs().max())
        rows = compare(one, exact[name], left_out)
        print(f"\n{given.dtype}, {name}: rows to which nothing is done are off by {unedited:.1e} at most\n")
        ways = ("clean pass", "twin")
        columns = {f"{kind}_{way}": f"{kind} error, {way}" for kind in ("rms", "largest", "mean") for way in ways}
        common.show(
            [{key: f"{v:.1e}" if isinstance(v, float) else v for key, v in row.items()} for row in rows],
            {"true_change": "true change", "rows": "rows", **columns},
        )
        out[name] = {"unedited": unedited, "rows": rows}
    common.write("rounding" if given.dtype == "float32" else f"rounding-{given.dtype}", out, given.quick)


if __name__ == "__main__":
    main()
