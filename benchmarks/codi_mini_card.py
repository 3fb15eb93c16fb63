"""Every figure of docs/results/codi-mini.md: accuracy, written chain, dependence on the thoughts, the SAE.

    python benchmarks/codi_mini_card.py [--model codi-mini-6 --data stories-6:validation]

Runs `codi-int eval --written-chain --replace-thoughts --json`, measures the shipped SAE on the held-out stories where
there is one, writes benchmarks/results/codi_mini_card.json and the shipped card.json, and prints the tables in
Markdown. A model in a folder gets its card.json there, so a trained model has one before it ships.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import codi_int as ci
from codi_int.catalog import DEFAULT_MODEL, model_folder
from codi_int.sae.metrics import measure

RESULTS = Path(__file__).parent / "results"
CODI = Path(sys.executable).with_name("codi-int")
EVAL = ["eval", "--written-chain", "--replace-thoughts", "--json"]
FEATURE = 449


def share(row: dict[str, float]) -> str:
    return f"{100 * row['accuracy']:.1f} % ({100 * row['low']:.1f} to {100 * row['high']:.1f}), n = {row['n']}"


def sae_rows() -> dict[str, float]:
    """The shipped SAE on stories:validation."""
    site = ci.Site(14, 3)
    model, sae = ci.load_model("codi-mini"), ci.load_sae("codi-mini/L14.P3")
    found = measure(sae, model.think(ci.load_problems("stories:validation"), capture=[site]).at(site).values)
    return {
        **found.summary(),
        "k": sae.config.k or 0,
        "seed": sae.config.provenance.seed or 0,
        f"share of problems on which feature {FEATURE} fires": float(found.activation_frequency[FEATURE]),
    }


def main() -> None:
    """Evaluate, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a shipped model, or a folder")
    parser.add_argument("--data", default="stories:validation", help="stories that it was not trained on")
    parser.add_argument("--limit", type=int, help="only the first so many, to try it out: nothing is kept")
    options = parser.parse_args()
    words = [*EVAL, "--model", options.model, "--data", options.data]
    words += ["--limit", str(options.limit)] if options.limit else []
    out = subprocess.run([str(CODI), *words], check=True, capture_output=True, text=True).stdout
    evaluation = json.loads(out)
    # the one SAE of its own kind that ships, with the feature that reports single out
    sae = sae_rows() if options.model == DEFAULT_MODEL and not options.limit else {}
    if not options.limit:
        keep(options.model, evaluation, sae)
    tables(options.data, evaluation, sae)


def keep(model: str, evaluation: dict[str, Any], sae: dict[str, float]) -> None:
    """Write the results, and what `codi-int list` says of the model."""
    name = Path(model).parent.name if Path(model).is_dir() else model
    path = RESULTS / f"{name.replace('-', '_')}_card.json"
    path.write_text(json.dumps({"evaluation": evaluation, "sae": sae}, indent=1) + "\n")
    overall = {name: evaluation["overall"][name] for name in ("n", "n_correct", "accuracy", "low", "high")}
    card = model_folder(model) / "card.json"
    card.write_text(json.dumps({"data": evaluation["data"], **overall}, indent=1) + "\n")


def tables(data: str, evaluation: dict[str, Any], sae: dict[str, float]) -> None:
    """Print the tables of a card."""
    steps = [row["group"] for row in evaluation["by_steps"]]
    columns = {
        "through thoughts": [evaluation["overall"], *evaluation["by_steps"]],
        "written chain": evaluation["written_chain"],
        "all thoughts replaced": [evaluation["thoughts_replaced"][0], *evaluation["thoughts_replaced_by_steps"]],
    }
    print(f"| {data} | {' | '.join(columns)} |")
    print(f"|---|{'---|' * len(columns)}")
    for i, group in enumerate(["all", *steps]):
        print(f"| {group} | {' | '.join(share(rows[i]) for rows in columns.values())} |")
    print("\n| replaced by its mean | accuracy |\n|---|---|")
    for row in evaluation["thoughts_replaced"]:
        print(f"| {row['group'].removesuffix(' replaced')} | {share(row)} |")
    print("\n| operation among the steps | accuracy |\n|---|---|")
    for row in evaluation["by_operation"]:
        print(f"| {row['group']} | {share(row)} |")
    if not sae:
        return
    print("\n| SAE at L14.P3, on stories:validation | |\n|---|---|")
    for name, value in sae.items():
        print(f"| {name.replace('_', ' ')} | {value:.4g} |")


if __name__ == "__main__":
    main()
