"""How many rows run together: chunks of a screen and of an ablation, on stories and on GSM8K's lengths.

    python benchmarks/chunk_rows.py [--gsm8k test.jsonl]

codi-mini, L14.P3, zero ablation. Nothing is scored: which features fire decides which rows there are, and the lengths
decide the batches that they start from. Beside what is cut, the chunks that each batch of the clean pass would give by
itself. codi-mini has no words for most of GSM8K, so there only the lengths and their spread mean anything. Writes
benchmarks/results/chunk_rows.json.
"""

from collections.abc import Sequence
from pathlib import Path

import _common as common
import torch
from torch import Tensor

import codi_int as ci
from codi_int.interventions.engine.chunks import Chunk, cut_chunks
from codi_int.interventions.engine.controls import feature_stats, matched_features
from codi_int.interventions.engine.suffix import MAX_ROWS
from codi_int.interventions.screens.groups import group_by_rows
from codi_int.model.hooked import CodiModel
from codi_int.sae.base import SAE
from codi_int.types import Problem, Site

SITE = Site(14, 3)
FEATURE = 449


class Lengths:
    """Problems of a data set: the batches of their clean pass, and which features fire on which."""

    def __init__(self, model: CodiModel, sae: SAE, problems: Sequence[Problem]) -> None:
        self.batches = model.batches(problems)
        self.batch_of, self.row_of = torch.empty(2, len(problems), dtype=torch.long)
        for index, batch in enumerate(self.batches):
            self.batch_of[list(batch.rows)], self.row_of[list(batch.rows)] = index, torch.arange(len(batch.rows))
        self.latents = sae.encode(model.think(problems, capture=[SITE]).at(SITE).values).dense()
        self.n_lengths = len({len(model.encode_question(problem)) for problem in problems})

    def pairs_of(self, features: Sequence[int]) -> Tensor:
        """The problem of every row of some ablations."""
        return torch.cat([(self.latents[:, f] != 0).nonzero()[:, 0] for f in features])

    def cut(self, problems: Tensor, apart: bool) -> list[Chunk]:
        """All rows in chunks, of mixed batches or each batch by itself."""
        batches, rows, pairs = self.batch_of[problems], self.row_of[problems], torch.arange(len(problems))
        lists = [batches == index for index in batches.unique()] if apart else [torch.ones_like(pairs).bool()]
        return [c for some in lists for c in cut_chunks(pairs[some], batches[some], rows[some], MAX_ROWS)]


def cases(data: Lengths, sae: SAE) -> dict[str, list[list[int]]]:
    """What runs, as lists of features that are scored together."""
    fires = data.latents != 0
    alive = fires.any(0).nonzero()[:, 0].tolist()
    stats = feature_stats(data.latents, sae.W_dec.detach().float().norm(dim=1))
    often = FEATURE if bool(fires[:, FEATURE].any()) else int(fires.sum(0).argmax())
    middle = sorted(alive, key=lambda f: int(fires[:, f].sum()))[len(alive) // 2]

    def controls(feature: int) -> list[int]:
        return [control for (control,) in matched_features(stats, [feature])]

    return {
        "screen": list(group_by_rows(alive, lambda f: int(fires[:, f].sum()))),
        f"ablate {often}, then its controls": [[often], controls(often)],
        f"ablate {middle} (median rate), then its controls": [[middle], controls(middle)],
    }


def rows_of(name: str, data: Lengths, sae: SAE) -> list[dict[str, object]]:
    """One row for each case."""
    out: list[dict[str, object]] = []
    for what, lists in cases(data, sae).items():
        problems = [data.pairs_of(features) for features in lists]
        n, (together, apart) = (
            sum(map(len, problems)),
            ([chunk for some in problems for chunk in data.cut(some, apart)] for apart in (False, True)),
        )
        out.append(
            {
                "data": name,
                "what": what,
                "rows": n,
                "chunks": len(together),
                "rows_per_chunk": n / len(together),
                "chunks_by_batch": len(apart),
                "rows_per_chunk_by_batch": n / len(apart),
                "most_problems_copied": max((_problems(c) for c in together if len(c.parts) > 1), default=0),
            }
        )
    return out


def _problems(chunk: Chunk) -> int:
    return sum(len(part.rows) for part in chunk.parts)


def main() -> None:
    """The table, for both data sets."""
    parser = common.arguments(__doc__)
    parser.add_argument("--gsm8k", type=Path, help="problems of other lengths, a .jsonl file")
    given = parser.parse_args()
    limit = 64 if given.quick else 1495
    model, sae = ci.load_model("codi-mini"), ci.load_sae("codi-mini/L14.P3")
    sets = {"stories:validation": "stories:validation"} | ({"gsm8k:test": given.gsm8k} if given.gsm8k else {})
    rows: list[dict[str, object]] = []
    for name, source in sets.items():
        data = Lengths(model, sae, ci.load_problems(str(source), limit=limit))
        print(f"{name}: {len(data.latents):,} problems of {data.n_lengths} lengths in {len(data.batches)} batches")
        rows += rows_of(name, data, sae)
    common.show(
        rows,
        {
            "data": "data",
            "what": "what",
            "rows": "rows",
            "chunks": "chunks",
            "rows_per_chunk": "rows a chunk",
            "chunks_by_batch": "chunks, batch by batch",
            "rows_per_chunk_by_batch": "rows a chunk then",
            "most_problems_copied": "problems copied at most",
        },
    )
    common.write("chunk_rows", {"site": str(SITE), "max_rows": MAX_ROWS, "rows": rows}, given.quick)


if __name__ == "__main__":
    main()
