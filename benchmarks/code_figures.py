"""Figures of the code: how long it is, how much it explains itself, what it still gets away with.

    python benchmarks/code_figures.py                     # this tree
    python benchmarks/code_figures.py --commit 12c8882    # another state, in a worktree that is removed again
    python benchmarks/code_figures.py --page              # 12c8882 beside this tree, into docs/explanation/decisions.md

What is counted stands at each function. Only files that git knows are read.
"""

import argparse
import ast
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import _common as common

BEFORE = "12c8882"
"""the commit that the page compares with"""
PAGE = common.ROOT / "docs" / "explanation" / "decisions.md"
MARKER = "code-figures"
MANY = 6
"""positional arguments of a call from which on a reader has to count them"""
# in two parts, so that this file does not count itself
FORMATTER_MARK = re.compile("# fmt: " + "(skip|off)")


def files(root: Path, folder: str = "") -> list[Path]:
    """Python files that git knows, of the whole tree or of a folder."""
    done = subprocess.run(["git", "ls-files", "-z", "--", "*.py"], cwd=root, check=True, capture_output=True, text=True)
    names = [name for name in done.stdout.split("\0") if name.startswith(folder) and name]
    # what is removed, but not yet from the index, is no file
    return sorted(path for path in map(root.joinpath, names) if path.is_file())


def lines_of(paths: Sequence[Path]) -> list[str]:
    """All their lines."""
    return [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


def many_positional(paths: Sequence[Path]) -> int:
    """Calls with six or more positional arguments; those with a starred one are left out, for their number is open."""
    calls = (n for path in paths for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if is_call(n))
    return sum(len(n.args) >= MANY and not any(isinstance(a, ast.Starred) for a in n.args) for n in calls)


def is_call(node: ast.AST) -> bool:
    """Whether a node is a call."""
    return isinstance(node, ast.Call)


def imports(root: Path) -> dict[str, set[str]]:
    """Module -> the modules of the package that it names in any import statement.

    Inside functions and under TYPE_CHECKING too: a reader follows those as well.
    """
    modules = {module_name(root, path): path for path in files(root, "codi_int/")}
    graph = {}
    for name, path in modules.items():
        named: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                # `from package import module` names the module, any other import the one that holds the name
                found = (f"{node.module}.{alias.name}" for alias in node.names)
                named |= {full if full in modules else node.module for full in found}
        graph[name] = {module for module in named if module in modules and module != name}
    return graph


def module_name(root: Path, path: Path) -> str:
    """A file's name as it is imported."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module: sets in which each can be reached from each."""
    reached = {module: reachable(graph, module) for module in graph}
    components = {frozenset(b for b in reached[a] if a in reached[b]) for a in graph}
    return sorted(sorted(component) for component in components if len(component) > 1)


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    """The modules to which imports lead from one, itself among them only where they lead back."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for module in graph[waiting.pop()] - seen:
            seen.add(module)
            waiting.append(module)
    return seen


def measure(root: Path) -> dict[str, str]:
    """Every figure of a tree, by what it is."""
    package, everything = files(root, "codi_int/"), files(root)
    code = lines_of(package)
    comments = sum(line.lstrip().startswith("#") for line in code)
    marks = sum(bool(FORMATTER_MARK.search(line)) for line in lines_of(everything))
    found = cycles(imports(root))
    commands = [path for path in package if path.parent == root / "codi_int" / "cli"]
    return {
        "lines of codi_int": f"{len(code):,}",
        "files of codi_int": f"{len(package):,}",
        "comment lines per 1,000 lines of codi_int": f"{1000 * comments / len(code):.1f}",
        "formatter marks (`fmt: skip`, `fmt: off`)": f"{marks}",
        f"calls with {MANY} or more positional arguments": f"{many_positional(everything)}",
        "files in codi_int/cli": f"{len(commands)}",
        "import cycles (over every import statement)": f"{len(found)}",
        "modules in import cycles": f"{sum(map(len, found))}",
        "longest file of codi_int, lines": f"{max(len(lines_of([path])) for path in package)}",
    }


@contextmanager
def tree_of(commit: str | None) -> Iterator[Path]:
    """The tree at a commit, in a worktree that is gone afterwards; None for the tree that this file stands in."""
    if commit is None:
        yield common.ROOT
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tree"
        git(f"worktree add --quiet --detach {root} {commit}")
        try:
            yield root
        finally:
            git(f"worktree remove --force {root}")


def git(words: str) -> None:
    """A git command in the checkout's root."""
    subprocess.run(["git", *words.split()], cwd=common.ROOT, check=True)


def table(columns: dict[str, dict[str, str]]) -> str:
    """Trees side by side, in Markdown."""
    trees = list(columns.values())
    rows = [f"| {name} | {' | '.join(tree[name] for tree in trees)} |" for name in trees[0]]
    return "\n".join([f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}", *rows])


def main() -> None:
    """Print the figures, or put them into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit", help="measure the tree at this commit instead")
    parser.add_argument("--page", action="store_true", help=f"{BEFORE} beside this tree, into the page of decisions")
    given = parser.parse_args()
    columns = {BEFORE: BEFORE, "now": None} if given.page else {given.commit or "this tree": given.commit}
    found = {}
    for name, commit in columns.items():
        with tree_of(commit) as root:
            found[name] = measure(root)
    print(table(found))
    if given.page:
        common.fill_page(PAGE, MARKER, table(found), code=False)


if __name__ == "__main__":
    main()
