"""The shape of the code: which package may import which, and that importing does nothing but import."""

import ast
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import codi_int

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "codi_int"
# A package may import the packages of its own level and of the levels before it.
LEVELS = (
    {
        *(
            "catalog",
            "effects",
            "errors",
            "files",
            "notes",
            "numeric",
            "progress",
            "proportions",
            "records",
            "run_folder",
            "run_log",
        ),
        "shipped",
        *("shown", "sites", "types", "unit_files", "units"),
    },
    {"data"},
    {"model"},
    {"training", "sae"},
    {"features", "interventions", "probes"},
    {"runs", "report"},
    {"cli"},
    {"__main__"},
)
# The same inside the largest package.
INNER_LEVELS = ({"edits"}, {"evidence"}, {"engine"}, {"screens", "patching"})
ALLOWED = {package: set().union(*LEVELS[: i + 1]) for i, level in enumerate(LEVELS) for package in level}
MODULES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = ("codi_int", "tests", "benchmarks", "scripts")
SOURCES = [path for name in FOLDERS for path in sorted((ROOT / name).rglob("*.py"))]

MOST_POSITIONAL = 5
"""arguments that a call may pass without naming them"""
MOST_PARAMETERS = 8
"""what takes more takes a record"""
CALLED_BY_KEYWORD = {"run_curve", "run_map", "run_screen", "capture_to_disk", "compare_paired", "run", "train_codi"}
"""functions of more, most of them settings that few callers give; a contract names the last two"""
VARIADIC = {"run", "run_words", "table", "_narrow", "add_row"}
"""functions of `*words` and of `*columns`: there is nothing to name"""
DEVICE_WORDS = {"cuda", "mps", "xpu", "accelerator", "is_available", "device_count", "get_device_properties"}
"""parts of a call's dotted name that tell that it asks for hardware"""


def package_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    """`codi_int.sae.many`; a package goes by its own name."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(source: str, modules: set[str]) -> Iterator[tuple[str, int]]:
    """(module, line) for every import statement, wherever it stands: in functions and under TYPE_CHECKING too.

    `from codi_int import x` imports the module x where there is one; a public name leads to the module it lives in,
    for the lazy `codi_int.__getattr__` loads that one.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import on line {node.lineno}"
            module = node.module or ""
            for alias in node.names:
                if f"{module}.{alias.name}" in modules:
                    yield f"{module}.{alias.name}", node.lineno
                    continue
                yield module, node.lineno
                if module == "codi_int" and alias.name in codi_int._HOMES:
                    yield f"codi_int.{codi_int._HOMES[alias.name]}", node.lineno


def imported_packages(source: str, modules: set[str]) -> Iterator[tuple[str, int]]:
    for name, line in imports_of(source, modules):
        first, *rest = name.split(".")
        assert first not in {"tests", "benchmarks"}
        if first == "codi_int" and rest:
            yield rest[0], line


def cycles(sources: Mapping[str, str]) -> set[frozenset[str]]:
    """Groups of modules each of which reaches every other one of its group: Tarjan's strongly connected components.

    That `import a.b` runs the package `a` first is left out: a package that lists its own modules would be a cycle.
    """
    graph = {
        name: {found for found, _ in imports_of(source, set(sources)) if found in sources and found != name}
        for name, source in sources.items()
    }
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    groups = set()

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        path.append(name)
        for other in graph[name]:
            if other not in number:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in path:
                lowest[name] = min(lowest[name], number[other])
        if lowest[name] == number[name]:  # nothing below leads further up: what lies above it on the path is its group
            group = path[path.index(name) :]
            del path[path.index(name) :]
            if len(group) > 1:
                groups.add(frozenset(group))

    for name in graph:
        if name not in number:
            visit(name)
    return groups


def at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Every node that is evaluated when the module is imported: all but the bodies of functions."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        for field, value in ast.iter_fields(node):
            if field == "body" and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue  # decorators and defaults are evaluated, the body is not
            waiting += [
                child for child in (value if isinstance(value, list) else [value]) if isinstance(child, ast.AST)
            ]


def device_probes(source: str) -> list[int]:
    """Lines of calls at module level that ask for hardware."""
    calls = [node for node in at_import(ast.parse(source)) if isinstance(node, ast.Call)]
    return [call.lineno for call in calls if DEVICE_WORDS & set(ast.unparse(call.func).split("."))]


def positional(source: str) -> list[int]:
    """Lines of calls with more than `MOST_POSITIONAL` arguments that are not named, though they could be."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    long = [call for call in calls if len(call.args) > MOST_POSITIONAL]
    return [
        call.lineno
        for call in long
        if not any(isinstance(arg, ast.Starred) for arg in call.args)
        and ast.unparse(call.func).split(".")[-1] not in VARIADIC
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    if package_of(path) == "__init__":
        return
    for package, line in imported_packages(path.read_text(), {name_of(module) for module in MODULES}):
        assert package in ALLOWED[package_of(path)], f"{path}:{line}: {package_of(path)} must not import {package}"


def test_the_packages_of_interventions_go_one_way():
    inner = PACKAGE / "interventions"
    for i, level in enumerate(INNER_LEVELS):
        later = {package for rest in INNER_LEVELS[i + 1 :] for package in rest}
        for path in (path for package in level for path in (inner / package).glob("*.py")):
            siblings = {package for package in level if not path.is_relative_to(inner / package)}
            text = path.read_text()
            for package in later | siblings:
                assert f"codi_int.interventions.{package}." not in text, f"{path} must not import {package}"
    assert {path.name for path in inner.iterdir() if path.is_dir()} - {"__pycache__"} == set().union(*INNER_LEVELS)


def test_every_package_has_a_level():
    assert {package_of(path) for path in MODULES} - {"__init__"} <= set(ALLOWED)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_runs_at_import(path):
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            pytest.fail(f"{path}:{node.lineno}: a call at module level")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print" or package_of(path) == "cli", f"{path}:{node.lineno}: print outside the CLI"


def test_files_stay_readable():
    long = {str(p.relative_to(PACKAGE)): n for p in MODULES if (n := p.read_text().count("\n")) > 400}
    assert not long


def test_tests_mirror_the_source():
    """Every test module stands in the folder of a package that exists."""
    for path in Path(__file__).parent.rglob("test_*.py"):
        package = path.parent.name
        assert path.parent == Path(__file__).parent or (PACKAGE / package).is_dir(), path


def test_no_module_imports_itself_by_a_detour():
    assert cycles({name_of(path): path.read_text() for path in MODULES}) == set()


def test_cycles_are_found_in_functions_and_under_type_checking():
    sources = {
        "codi_int.a": "def f():\n    from codi_int import b",
        "codi_int.b": "from codi_int.c import x",
        "codi_int.c": "if TYPE_CHECKING:\n    import codi_int.a",
        "codi_int.d": "from codi_int import a",
    }
    assert cycles(sources) == {frozenset({"codi_int.a", "codi_int.b", "codi_int.c"})}
    assert cycles({**sources, "codi_int.c": ""}) == set()


def test_imports_from_the_package_are_resolved():
    modules = {"codi_int.types", "codi_int.cli"}
    assert [package for package, _ in imported_packages("from codi_int import types, cli", modules)] == ["types", "cli"]
    assert [package for package, _ in imported_packages("from codi_int import load_model", modules)] == ["model"]
    assert list(imported_packages("from codi_int import __version__", modules)) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_device_is_probed_at_import(path):
    assert not device_probes(path.read_text()), path


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("HERE = torch.cuda.is_available()", [1]),
        ("if True:\n    x = 'cuda' if torch.cuda.device_count() else 'cpu'", [2]),
        ("class A:\n    n = torch.mps.device_count()", [2]),
        ("def f(x=torch.cuda.is_available()):\n    pass", [1]),
        ("def f():\n    return torch.cuda.is_available()", []),
        ("f = lambda: torch.cuda.is_available()", []),
        ("x = torch.zeros(3)", []),
    ],
)
def test_probes_are_found_wherever_import_evaluates_them(source, lines):
    assert device_probes(source) == lines


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_formatter_is_never_switched_off(path):
    with path.open("rb") as file:
        comments = [token for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT]
    assert not [token.start[0] for token in comments if token.string.lstrip("# ").startswith("fmt:")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_calls_name_their_arguments(path):
    assert not positional(path.read_text()), path


def test_calls_without_names_are_found():
    assert positional("f(1, 2, 3, 4, 5)\nf(1, 2, 3, 4, 5, 6)\nf(*x, 1, 2, 3, 4, 5)") == [2]


def many_parameters(source: str) -> list[str]:
    """Functions of more parameters than a caller can keep apart, `self` not counted."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            if sum(one.arg not in ("self", "cls") for one in parameters) > MOST_PARAMETERS:
                found.append(node.name)
    return found


def test_functions_take_few_parameters():
    # kernels take no records
    paths = [path for path in MODULES if not path.stem.endswith("_triton")]
    assert {name for path in paths for name in many_parameters(path.read_text())} == CALLED_BY_KEYWORD


def test_functions_of_many_parameters_are_found():
    assert many_parameters("def f(a, b, c, d, /, e, f, g, *, h, i): ...") == ["f"]
    assert many_parameters("def f(self, a, b, c, d, e, f, g, h): ...") == []
