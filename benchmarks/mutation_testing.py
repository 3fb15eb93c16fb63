"""Which faults would the suite notice? Changes one operator, constant, comparison, return or statement at a time.

    python benchmarks/mutation_testing.py draw --seed 0 --each 30     # which mutants: benchmarks/results/mutants.json
    python benchmarks/mutation_testing.py cover                       # which test runs which line
    python benchmarks/mutation_testing.py run                         # try them, print the table

The mutants are drawn first and kept, by function and text of the line, so that tests that are written afterwards
cannot choose them, and so that they are found again when a file is edited. A mutant runs against the tests that cover
its line, and no others: `killed` where one of them fails (or never ends), `survived` where all pass, `uncovered` where
none runs it. The covering tests come from the contexts of coverage.py (`pip install pytest-cov`), recorded by one run
of the suite.
"""

import ast
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from _common import RESULTS, ROOT, arguments

AREAS = {
    "interventions": ("codi_int/interventions/**/*.py",),
    "spliced": ("codi_int/sae/spliced.py", "codi_int/model/scoring.py", "codi_int/model/resume.py"),
    "data": ("codi_int/data/*.py",),
    "model": ("codi_int/model/*.py",),
    "pages": ("codi_int/cli/*.py",),
}
"""where mutants are drawn, the same number in each; a file belongs to the first area that names it"""
DRAWN = RESULTS / "mutants.json"
COVERAGE = ROOT / "build" / "mutation" / "coverage"
SECONDS = 1200
"""of the processor: a mutant whose tests take longer never ends, as far as anybody would wait, and is killed"""

COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


@dataclass(frozen=True)
class Mutant:
    """One changed place."""

    area: str
    """where it was drawn"""
    file: str
    """from the root of the project"""
    function: str
    """qualified name, such as `Chain.decode`"""
    kind: str
    """comparison, operator, constant, return or statement"""
    before: str
    """the source of the changed node"""
    after: str
    """what takes its place"""
    nth: int
    """which of the equal nodes of that function, from 0"""
    line: int
    """at the time of the draw"""
    outcome: str = "drawn"
    """drawn, killed, survived, uncovered, or gone where the code no longer has the place"""
    tests: int = 0
    """how many tests cover it"""


class _Collector(ast.NodeVisitor):
    """All (node, replacement, function, kind) of a file; docstrings and annotations are left alone."""

    def __init__(self) -> None:
        self.found: list[tuple[ast.AST, ast.AST, str, str]] = []
        self._names: list[str] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._names.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self._names.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._names.append(node.name)
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef | ast.ClassDef):
                self.visit(statement)
        self._names.pop()

    def visit_Compare(self, node: ast.Compare) -> None:
        other = COMPARISONS[type(node.ops[0])]
        self._add(node, ast.Compare(node.left, [other(), *node.ops[1:]], node.comparators), "comparison")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if type(node.op) in OPERATORS:
            self._add(node, ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right), "operator")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self._add(node, ast.BoolOp(OPERATORS[type(node.op)](), node.values), "operator")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._add(node, ast.Constant(not node.value), "constant")
        elif isinstance(node.value, int | float):
            self._add(node, ast.Constant(node.value + 1), "constant")

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            self._add(node, ast.Return(ast.Constant(None)), "return")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self._add(node, ast.Pass(), "statement")
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._add(node, ast.Pass(), "statement")
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def _add(self, node: ast.AST, other: ast.AST, kind: str) -> None:
        if self._names:  # what stands at module level runs at import, and no test is its own
            self.found.append((node, other, ".".join(self._names), kind))


def places(area: str, path: Path) -> Iterator[tuple[Mutant, ast.AST, ast.AST, ast.Module]]:
    """Every mutant of a file, with the nodes to exchange."""
    tree = ast.parse(path.read_text())
    collector = _Collector()
    collector.visit(tree)
    seen: Counter[tuple[str, str, str]] = Counter()
    for node, other, function, kind in collector.found:
        before, after = ast.unparse(node), ast.unparse(ast.fix_missing_locations(other))
        key = (function, kind, before)
        name = str(path.relative_to(ROOT))
        yield (
            Mutant(
                area=area,
                file=name,
                function=function,
                kind=kind,
                before=before,
                after=after,
                nth=seen[key],
                line=node.lineno,
            ),
            node,
            other,
            tree,
        )  # type: ignore[attr-defined]
        seen[key] += 1


def draw(seed: int, each: int) -> list[Mutant]:
    """So many mutants of each area; an area draws a kind first, so that constants do not crowd out the others."""
    generator, taken, drawn = random.Random(seed), set(), []
    for area, patterns in AREAS.items():
        files = sorted({path for pattern in patterns for path in ROOT.glob(pattern)} - taken)
        taken |= set(files)
        kinds: dict[str, list[Mutant]] = {}
        for path in files:
            for mutant, *_ in places(area, path):
                kinds.setdefault(mutant.kind, []).append(mutant)
        for _ in range(min(each, sum(map(len, kinds.values())))):
            kind = generator.choice(sorted(name for name, rest in kinds.items() if rest))
            drawn.append(kinds[kind].pop(generator.randrange(len(kinds[kind]))))
    return drawn


def mutated(mutant: Mutant) -> tuple[str, int] | None:
    """The file with the change made, and its line today; None where the place is gone."""
    path = ROOT / mutant.file
    if not path.exists():
        return None
    for found, node, other, tree in places(mutant.area, path):
        if replace(found, line=mutant.line, outcome=mutant.outcome, tests=mutant.tests) == mutant:
            changed = _Exchange(node, other).visit(tree)
            return ast.unparse(ast.fix_missing_locations(changed)), found.line
    return None


class _Exchange(ast.NodeTransformer):
    """Puts one node in another's place."""

    def __init__(self, node: ast.AST, other: ast.AST) -> None:
        self._node, self._other = node, other

    def visit(self, node: ast.AST) -> ast.AST:
        return self._other if node is self._node else super().generic_visit(node)


def cover() -> None:
    """Run the suite once and keep which test runs which line."""
    COVERAGE.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "--cov=codi_int"]
    command += ["--cov-context=test", "--cov-report="]
    subprocess.run(command, cwd=ROOT, check=True, env=_environment(ROOT) | {"COVERAGE_FILE": str(COVERAGE)})


def covering(file: str, line: int) -> list[list[str]]:
    """The tests that run a line: those of its own file, of its own package, and the others; none of these is empty.

    A line that runs once for several tests, in a fixture or behind a cache, is credited to the first of them alone.
    So the first group is all of its own test file.
    """
    from coverage import CoverageData

    data = CoverageData(str(COVERAGE))
    data.read()
    contexts = data.contexts_by_lineno(str(ROOT / file)).get(line, [])
    package, stem = Path(file).parts[1], Path(file).stem.lstrip("_")
    own = f"tests/{package}/test_{stem}.py"
    groups: dict[int, list[str]] = {0: [own] if (ROOT / own).exists() else [], 1: [], 2: []}
    for test in sorted({context.split("|")[0] for context in contexts if context}):
        if not test.startswith(own):
            groups[1 if test.startswith(f"tests/{package}/") else 2].append(test)
    return [group for group in groups.values() if group]


def attempt(mutant: Mutant, tree: Path) -> Mutant:
    """Run the covering tests on a copy of the project with one change in it, the likeliest to notice first."""
    change = mutated(mutant)
    if change is None:
        return replace(mutant, outcome="gone")
    text, line = change
    groups = covering(mutant.file, line)
    if not groups:
        return replace(mutant, outcome="uncovered")
    target, original = tree / mutant.file, (ROOT / mutant.file).read_text()
    target.write_text(text)
    try:
        outcome = "survived" if all(_pass(tests, tree) for tests in groups) else "killed"
    finally:
        target.write_text(original)
    return replace(mutant, outcome=outcome, tests=sum(map(len, groups)))


def _pass(tests: Sequence[str], tree: Path) -> bool:
    """Whether some tests pass on a tree, within the seconds that are given."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:cov", *tests]
    limited = ["sh", "-c", f'ulimit -t {SECONDS}; exec "$@"', "sh", *command]
    return subprocess.run(limited, cwd=tree, env=_environment(tree), capture_output=True).returncode == 0


def run(mutants: Sequence[Mutant], again: Sequence[str], workers: int) -> list[Mutant]:
    """Try the mutants of some outcomes, each worker in a copy of its own, and keep every answer as it comes."""
    results = list(mutants)
    waiting = [i for i, mutant in enumerate(results) if mutant.outcome in again]
    with tempfile.TemporaryDirectory() as folder:
        copies = [_copy(Path(folder) / str(i)) for i in range(workers)]

        def work(share: int) -> None:
            for i in waiting[share::workers]:
                began = time.perf_counter()
                results[i] = attempt(results[i], copies[share])
                seconds = time.perf_counter() - began
                print(
                    f"{results[i].outcome:9} {seconds:5.0f} s  {results[i].file}:{results[i].line}  "
                    f"{results[i].before[:40]!r} -> {results[i].after[:40]!r}",
                    flush=True,
                )
                _save(results)

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, range(workers)))
    return results


def _copy(folder: Path) -> Path:
    """What the tests need of the project."""
    for name in ("codi_int", "tests", "benchmarks", "experiments", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (path for path in ROOT.iterdir() if path.is_file()):
        shutil.copy(path, folder / path.name)
    return folder


def _environment(tree: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def _save(mutants: Sequence[Mutant]) -> None:
    DRAWN.write_text(json.dumps([asdict(mutant) for mutant in mutants], indent=1) + "\n")


def table(mutants: Sequence[Mutant]) -> str:
    """Outcomes by area, and every mutant that no test noticed."""
    names = ("killed", "survived", "uncovered", "gone")
    lines = [f"{'area':15}" + "".join(f"{name:>11}" for name in names)]
    for area in (*AREAS, "all"):
        count = Counter(mutant.outcome for mutant in mutants if area in (mutant.area, "all"))
        lines.append(f"{area:15}" + "".join(f"{count[name]:>11}" for name in names))
    lines += ["", "not noticed:"]
    lines += [
        f"{m.outcome:9}  {m.file}:{m.line} {m.function}: {m.before!r} -> {m.after!r}"
        for m in mutants
        if m.outcome in ("survived", "uncovered")
    ]
    return "\n".join(lines)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("what", choices=("draw", "cover", "run", "table"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", type=int, default=30, help="mutants of each area")
    parser.add_argument("--again", default="drawn", help="outcomes to try, with commas: drawn,survived,uncovered")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.what == "draw":
        _save(draw(options.seed, options.each))
    elif options.what == "cover":
        cover()
    else:
        mutants = [Mutant(**row) for row in json.loads(DRAWN.read_text())]
        if options.what == "run":
            mutants = run(mutants, options.again.split(","), options.workers)
        print(table(mutants))


if __name__ == "__main__":
    main()
