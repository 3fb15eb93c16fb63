"""The pages of docs/reference: API and commands as the code has them, the glossary as scripts/glossary.toml has it.

    python scripts/reference.py            # write them (also: make reference)
    python scripts/reference.py --check    # exit with 1 where one of them is not what would be written

The API is read from the source, not from imported objects: the notes under fields exist only there, and nothing heavy
has to load.
"""

import argparse
import ast
import inspect
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "reference"
WIDTH = 100
"""signatures that are longer have one parameter a line"""
PACKAGES = {
    "data": "Problems and answers",
    "model": "The model",
    "sae": "Sparse autoencoders",
    "features": "Features",
    "interventions.edits": "Edits",
    "interventions.engine": "The engine",
    "interventions.evidence": "Evidence",
    "interventions.screens": "Screens, curves, maps",
    "interventions.patching": "Patching and predictions",
    "interventions.stopping": "Early stopping",
    "interventions.kept": "Kept runs",
    "runs": "Runs beside one another",
    "probes": "Probes",
    "report": "Figures",
    "sites": "Sites",
    "types": "Records",
    "errors": "Errors",
}
"""in the order of the page; a public name belongs to the first that its module's path begins with"""
HEAD = "<!-- Written by scripts/reference.py (make reference); edit {source} instead. -->\n\n"

Function = ast.FunctionDef | ast.AsyncFunctionDef


# --- docstrings ---------------------------------------------------------------------------------------------------


def escaped(text: str) -> str:
    """Text as Markdown that shows it as it is: `<bot>` outside of code would be taken for a tag."""
    parts = re.split(r"(``?[^`]+``?)", text)  # every second part is code
    return "".join(part if i % 2 else part.replace("<", "&lt;") for i, part in enumerate(parts))


def markdown(doc: str) -> str:
    """A docstring in Google's style as Markdown: its sections become lists, code with an indent becomes a block."""
    out: list[str] = []
    for block in filter(None, re.split(r"\n\s*\n", inspect.cleandoc(doc))):
        first, *rest = block.splitlines()
        if first in ("Returns:", "Yields:"):
            out.append(f"*{first}* {escaped(' '.join(' '.join(rest).split()))}")
        elif first in ("Args:", "Raises:"):
            out.append(f"*{first.rstrip(':')}*\n\n{items(rest)}")
        elif first.startswith("    "):
            out.append(f"```\n{inspect.cleandoc(block)}\n```")
        else:
            out.append(escaped(block))
    return "\n\n".join(out)


def items(lines: list[str]) -> str:
    """The entries of one section; a line that is indented further goes on with the entry before it."""
    entries: list[str] = []
    for line in lines:
        if line.startswith("        ") and entries:
            entries[-1] += f" {line.strip()}"
        else:
            entries.append(line.strip())
    return "\n".join(f"- {entry(text)}" for text in entries)


def entry(text: str) -> str:
    """`name: what it is`, with the name as code; other text as it is."""
    named = re.match(r"([\w*, ]+): (.*)", text)
    return f"`{named[1]}`: {escaped(named[2])}" if named else escaped(text)


# --- API ----------------------------------------------------------------------------------------------------------


def homes() -> dict[str, str]:
    """Every public name and the module, below codi_int, that defines it."""
    tree = ast.parse((ROOT / "codi_int" / "__init__.py").read_text(encoding="utf-8"))
    tables = [n for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "_HOMES"]
    found: dict[str, str] = ast.literal_eval(tables[0].value)
    return found


def definition(name: str, module: str) -> tuple[ast.ClassDef | Function, str]:
    """Where a name is defined, and in which module: a public home may import it from the one that does the work."""
    for node in module_tree(module).body:
        if isinstance(node, ast.ClassDef | Function) and node.name == name:
            return node, module
        if isinstance(node, ast.ImportFrom) and any(name in (a.name, a.asname) for a in node.names):
            return definition(name, str(node.module).removeprefix("codi_int."))
    raise LookupError(f"codi_int.{module} does not define {name}")


def module_tree(module: str) -> ast.Module:
    """A module's source."""
    return ast.parse(source_file(module).read_text(encoding="utf-8"))


def source_file(module: str) -> Path:
    """The file of a module below codi_int."""
    path = ROOT.joinpath("codi_int", *module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def api_page() -> str:
    """Every public name by package, with its signature, its fields and what its docstring says."""
    names = homes()
    out = [
        "# API",
        "Everything below is imported as `import codi_int as ci` and used as `ci.Name`; modules are named for readers "
        "of the source. Shapes stand in brackets; [the glossary](glossary.md) says what the words mean.",
    ]
    for package, title in PACKAGES.items():
        of_package = [name for name in sorted(names) if package_of(names[name]) == package]
        out.append(f"## {title}")
        out += [documented(name, names[name]) for name in of_package]
    return HEAD.format(source="the docstrings") + "\n\n".join(out) + "\n"


def package_of(module: str) -> str:
    """The entry of PACKAGES that a module belongs to."""
    return next(package for package in PACKAGES if module == package or module.startswith(f"{package}."))


def documented(name: str, module: str) -> str:
    """One public name."""
    node, defined = definition(name, module)
    where = source_file(defined).relative_to(ROOT)
    parts = [f"### {name}", f"[codi_int.{defined}](../../{where})"]
    if isinstance(node, ast.ClassDef):
        parts += class_parts(node, defined)
    else:
        parts += [code(signature(name, node)), markdown(ast.get_docstring(node) or "")]
    return "\n\n".join(part for part in parts if part)


def class_parts(node: ast.ClassDef, module: str) -> Iterator[str]:
    """What a class is, what it is made of, and what it can do."""
    lineage = [*ancestors(node, module), node]
    own = {item.name: item for item in node.body if isinstance(item, Function)}
    fields = {name: text for ancestor in lineage for name, text in field_notes(ancestor)}
    made = own.get("__init__")
    if made is not None:
        yield code(signature(node.name, made, bound=True))
    yield markdown(ast.get_docstring(node) or "")
    if made is not None:
        yield markdown(ast.get_docstring(made) or "")
    if fields:
        yield "\n".join(f"- {text}" for text in fields.values())
    methods = {item.name: item for ancestor in lineage for item in ancestor.body if isinstance(item, Function)}
    for method in methods.values():
        if not method.name.startswith("_"):
            yield method_text(node.name, method)


def ancestors(node: ast.ClassDef, module: str) -> list[ast.ClassDef]:
    """The classes of the same module that it inherits from, the furthest first."""
    local = {item.name: item for item in module_tree(module).body if isinstance(item, ast.ClassDef)}
    bases = [local[name] for base in node.bases if (name := ast.unparse(base).split("[")[0]) in local]
    return [found for base in bases for found in (*ancestors(base, module), base)]


def field_notes(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """The fields of a record with the notes that stand under them."""
    for item, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and not item.target.id.startswith("_"):
            default = "" if item.value is None else f" = {ast.unparse(item.value)}"
            text = f"`{item.target.id}: {ast.unparse(item.annotation)}{default}`"
            note = string_of(after)
            yield item.target.id, f"{text}: {escaped(' '.join(note.split()))}" if note else text


def string_of(node: ast.stmt | None) -> str:
    """The text of a string that stands alone as a statement, as notes under fields do."""
    alone = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return node.value.value if alone and isinstance(node.value.value, str) else ""  # type: ignore[union-attr]


def method_text(owner: str, node: Function) -> str:
    """One public method or property."""
    marks = {ast.unparse(mark).split("(")[0] for mark in node.decorator_list}
    doc = markdown(ast.get_docstring(node) or "")
    if marks & {"property", "cached_property"}:
        returns = f": {ast.unparse(node.returns)}" if node.returns else ""
        return f"#### {owner}.{node.name}\n\n`{node.name}{returns}`\n\n{doc}"
    bound = "staticmethod" not in marks
    return f"#### {owner}.{node.name}\n\n{code(signature(node.name, node, bound))}\n\n{doc}"


def signature(name: str, node: Function, bound: bool = False) -> str:
    """The call as it is written, without `self`."""
    arguments = ast.parse(ast.unparse(node)).body[0].args  # type: ignore[attr-defined]
    if bound:
        (arguments.posonlyargs or arguments.args).pop(0)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns and name == node.name else ""
    parts = list(parameters(arguments))
    line = f"{name}({', '.join(parts)}){returns}"
    if len(line) <= WIDTH:
        return line
    inner = "".join(f"    {part},\n" for part in parts)
    return f"{name}(\n{inner}){returns}"


def parameters(arguments: ast.arguments) -> Iterator[str]:
    """Every parameter as it is written."""
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [*[None] * (len(positional) - len(arguments.defaults)), *arguments.defaults]
    yield from (parameter(a, d) for a, d in zip(positional, defaults, strict=True))
    if arguments.vararg:
        yield f"*{ast.unparse(arguments.vararg)}"
    elif arguments.kwonlyargs:
        yield "*"
    yield from (parameter(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    if arguments.kwarg:
        yield f"**{ast.unparse(arguments.kwarg)}"


def parameter(argument: ast.arg, default: ast.expr | None) -> str:
    """One parameter with its type and default."""
    return ast.unparse(argument) + ("" if default is None else f" = {ast.unparse(default)}")


def code(text: str) -> str:
    """A block of Python."""
    return f"```python\n{text}\n```"


# --- commands -----------------------------------------------------------------------------------------------------


def cli_page() -> str:
    """Every command with its options."""
    import typer.main

    from codi_int.cli.main import make_app

    out = [
        "# Commands",
        "Results go to stdout, progress and warnings to stderr. `--json` prints one JSON document, `--out DIR` keeps "
        "the run; a user's error is two lines and exit code 2, and `--debug`, which every command takes, adds where it "
        "arose. Options that name several things take commas and ranges (`1,3`, `1-6`) or are repeated.",
    ]
    out += commands(typer.main.get_command(make_app()), "codi-int")
    return HEAD.format(source="the options in codi_int/cli") + "\n\n".join(out) + "\n"


def commands(group: Any, path: str) -> Iterator[str]:
    """The commands of a group and of the groups in it, loaded as a call would load them."""
    for name in group.commands:
        context = group.make_context(path, [name])
        _, command, _ = group.resolve_command(context, [name])
        if hasattr(command, "resolve_command"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"## {path} {name}\n\n{escaped(inspect.cleandoc(command.help or ''))}\n\n{option_table(command)}"


def option_table(command: Any) -> str:
    """The parameters of a command, those that must be given first."""
    shown = sorted((p for p in command.params if p.name != "help"), key=lambda p: not p.required)
    rows = [f"| {option_name(p)} | {option_default(p)} | {cell(getattr(p, 'help', None) or '')} |" for p in shown]
    return "\n".join(["| option | default | meaning |", "|---|---|---|", *rows])


def option_name(option: Any) -> str:
    """`--layer N`, or `PATH` for an argument."""
    if option.param_type_name == "argument":
        return f"`{(option.metavar or option.name).upper()}`"
    names = "/".join([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return f"`{names}`"
    if option.metavar is None and option.type_descriptor.is_choice:
        # the bars of a choice would end the cell of the table
        choices = r"\|".join(option.type_descriptor.choices)
        return f"`{names} {choices}`"
    path = option.type_descriptor.annotation is Path
    return f"`{names} {option.metavar or ('PATH' if path else 'TEXT')}`"


def option_default(option: Any) -> str:
    """What holds where the option is left out."""
    if option.required:
        return "required"
    default = option.default
    if callable(default) or default is None or default is False or default == []:
        return ""
    if default is True:
        return "on"
    return f"`{','.join(map(str, default)) if isinstance(default, list | tuple) else default}`"


def cell(text: str) -> str:
    """Text for one cell; the default that some help texts repeat has a column of its own only where click knows it."""
    return escaped(" ".join(text.split())).replace("|", "\\|")


# --- glossary -----------------------------------------------------------------------------------------------------


def glossary_page() -> str:
    """The words by theme, and the words that older versions used."""
    book = tomllib.loads((ROOT / "scripts" / "glossary.toml").read_text(encoding="utf-8"))
    former = book.pop("former")
    out = ["# Glossary", "The words of the pages, the options and the code. One word has one meaning."]
    for theme, words in book.items():
        rows = "\n".join(f"| **{escaped(word)}** | {cell(words[word])} |" for word in words)
        out.append(f"## {theme}\n\n| word | meaning |\n|---|---|\n{rows}")
    rows = "\n".join(f"| {escaped(old)} | {cell(new)} |" for old, new in sorted(former.items()))
    out.append(
        "## Former words\n\nOlder versions had words of their own. Their public names and JSON keys stay for one "
        f"release.\n\n| then | now |\n|---|---|\n{rows}"
    )
    return HEAD.format(source="scripts/glossary.toml") + "\n\n".join(out) + "\n"


WRITERS: dict[str, Callable[[], str]] = {"api.md": api_page, "cli.md": cli_page, "glossary.md": glossary_page}


def stale() -> list[str]:
    """The pages that are not what would be written now."""
    return [
        name
        for name, write in WRITERS.items()
        if not (PAGES / name).is_file() or (PAGES / name).read_text(encoding="utf-8") != write()
    ]


def main() -> None:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a page is out of date")
    if parser.parse_args().check:
        if old := stale():
            sys.exit(f"out of date: {', '.join(old)} in docs/reference. Run: make reference")
        return
    PAGES.mkdir(parents=True, exist_ok=True)
    for name, write in WRITERS.items():
        (PAGES / name).write_text(write(), encoding="utf-8")


if __name__ == "__main__":
    main()
