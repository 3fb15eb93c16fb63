"""Every figure of docs/results/codi-mini.md: accuracy, written chain, dependence on the thoughts, the SAE.

    python benchmarks/codi_mini_card.py

Runs `codi-int eval --written-chain --replace-thoughts --json`, measures the shipped SAE on the held-out stories, writes
benchmarks/results/codi_mini_card.json and the shipped card.json, and prints the tables in Markdown.
"""

import json
import subprocess
import sys
from pathlib import Path

import codi_int as ci
from codi_int.sae.metrics import measure

RESULTS = Path(__file__).parent / "results" / "codi_mini_card.json"
CARD = Path(ci.__file__).parent / "assets" / "codi-mini" / "card.json"
"""what `codi-int list` says of the model"""
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
    out = subprocess.run([str(CODI), *EVAL], check=True, capture_output=True, text=True).stdout
    evaluation, sae = json.loads(out), sae_rows()
    RESULTS.write_text(json.dumps({"evaluation": evaluation, "sae": sae}, indent=1) + "\n")
    overall = {name: evaluation["overall"][name] for name in ("n", "n_correct", "accuracy", "low", "high")}
    CARD.write_text(json.dumps({"data": evaluation["data"], **overall}, indent=1) + "\n")
    steps = [row["group"] for row in evaluation["by_steps"]]
    columns = {
        "through thoughts": [evaluation["overall"], *evaluation["by_steps"]],
        "written chain": evaluation["written_chain"],
        "all thoughts replaced": [evaluation["thoughts_replaced"][0], *evaluation["thoughts_replaced_by_steps"]],
    }
    print(f"| stories:validation | {' | '.join(columns)} |")
    print(f"|---|{'---|' * len(columns)}")
    for i, group in enumerate(["all", *steps]):
        print(f"| {group} | {' | '.join(share(rows[i]) for rows in columns.values())} |")
    print("\n| replaced by its mean | accuracy |\n|---|---|")
    for row in evaluation["thoughts_replaced"]:
        print(f"| {row['group'].removesuffix(' replaced')} | {share(row)} |")
    print("\n| operation among the steps | accuracy |\n|---|---|")
    for row in evaluation["by_operation"]:
        print(f"| {row['group']} | {share(row)} |")
    print("\n| SAE at L14.P3, on stories:validation | |\n|---|---|")
    for name, value in sae.items():
        print(f"| {name.replace('_', ' ')} | {value:.4g} |")


if __name__ == "__main__":
    main()
