"""How many GSM8K solutions have calculation marks that all parse and are all arithmetically right?

Run: python benchmarks/gsm8k_steps.py [folder with train.jsonl and test.jsonl]
Without a folder the data set is fetched through `datasets`. Prints a table; `--json FILE` keeps the counts.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from codi_int.data.steps import StepReport, report_steps

ROWS = {
    "solutions": "n_problems",
    "without any mark": "n_without_marks",
    "marks": "n_marks",
    "  of two operands": "n_steps",
    "  of several operations": "n_expressions",
    "  exactly right": "n_exact",
    "  right after rounding": "n_rounded",
    "solutions with every mark parsed": "n_problems_parsed",
    "  and every result right": "n_problems_consistent",
    "  and right without rounding": "n_problems_exact",
    "  and every mark of two operands": "n_problems_simple",
}


def solutions(split: str, folder: Path | None) -> list[str]:
    """The written solutions of a split."""
    if folder is not None:
        return [json.loads(line)["answer"] for line in (folder / f"{split}.jsonl").read_text().splitlines()]
    import datasets

    return list(datasets.load_dataset("openai/gsm8k", "main", split=split)["answer"])


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    reports: dict[str, StepReport] = {s: report_steps(solutions(s, options.folder)) for s in ("train", "test")}
    print(f"{'':34}{'train':>8}{'test':>8}")
    for label, field in ROWS.items():
        print(f"{label:34}" + "".join(f"{getattr(report, field):8,}" for report in reports.values()))
    for split, report in reports.items():
        print(f"malformed in {split}: {', '.join(report.malformed) or 'none'}")
        print(f"wrong in {split}: {', '.join(report.wrong) or 'none'}")
    if options.json:
        options.json.write_text(json.dumps({s: asdict(report) for s, report in reports.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
