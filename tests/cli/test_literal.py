"""Names and texts are literal on every page and figure: no markup, no mathtext, no controls on the terminal."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from codi_int.cli._console import stdout
from codi_int.cli._literal import Table, Text
from codi_int.report.literal import literal_document, show_controls

HOSTILE = "$x^{$_[/b]:smile:\x1b[31m\u202e"
SHOWN = "$x^{$_[/b]:smile:\\x1b[31m\\u202e"
PAGES = Path(__file__).parents[2] / "codi_int" / "cli"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\nb\tc", "a\nb\tc"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m\x00\r\x7f", "\\x9b31m\\x00\\x0d\\x7f"),
        ("\u202eabc\u2028", "\\u202eabc\\u2028"),
        ("\ud800", "\\ud800"),
        ("é 日 👩\u200d🔬", "é 日 👩\u200d🔬"),
    ],
)
def test_controls_are_shown(text: str, shown: str) -> None:
    assert show_controls(text) == shown
    assert literal_document({text: [text, 1, None]}) == {shown: [shown, 1, None]}


def test_rich_shows_what_it_is_given() -> None:
    out = Table(HOSTILE)
    out.add_column(HOSTILE)
    out.add_row(HOSTILE, Text(HOSTILE).append(HOSTILE))
    page = io.StringIO()
    console = Console(file=page, width=400, force_terminal=False)
    console.print(out)
    assert page.getvalue().count(SHOWN) == 5
    assert "\x1b" not in page.getvalue()


def test_strings_on_a_page_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    stdout().print("[/b] :smile:")
    assert capsys.readouterr().out == "[/b] :smile:\n"


def test_pages_take_texts_and_tables_from_one_place() -> None:
    for path in PAGES.glob("*.py"):
        if path.name != "_literal.py":
            assert "from rich.text" not in path.read_text(), path
            assert "from rich.table" not in path.read_text(), path


@pytest.fixture(scope="module")
def hostile(shelf, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Options that name a model and problems of hostile names."""
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copytree(shelf.model, folder / "model")
    config = json.loads((folder / "model" / "codi.json").read_text())
    (folder / "model" / "codi.json").write_text(json.dumps({**config, "name": HOSTILE}))
    lines = [json.loads(line) for line in Path(shelf.data).read_text().splitlines()]
    data = folder / f"{HOSTILE.replace('/', '')}.jsonl"
    data.write_text("".join(json.dumps({**line, "id": f"{line['id']}{HOSTILE}"}) + "\n" for line in lines))
    return "--model", str(folder / "model"), "--data", str(data)


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        ("ablate --layer 2 --feature 1 --controls 2", True),
        ("ablate --layer 2 --feature 1 --controls 2 --propagate split", True),
        ("amplify --layer 2 --feature 1 --factor 2,3 --controls 2", True),
        ("screen --layer 2 --feature 1,2", True),
        ("curve --layer 2 --n 1,2 --draws 2", True),
        ("map --layer 2 --position 3", True),
        ("patch --layer 2 --auto different --step 1 --underpowered --controls 2", True),
        ("lens", True),
        ("lens --problem 0", True),
        ("eval", False),
        ("think --limit 1", False),
        ("doctor", False),
    ],
)
def test_hostile_names_are_literal(
    run: Callable, hostile: tuple[str, ...], command: str, kept: bool, tmp_path: Path
) -> None:
    ran = run(*command.split(), *hostile, *(("--out", str(tmp_path / HOSTILE.replace("/", ""))) if kept else ()))
    assert ran.code == 0, ran.err
    assert "$x^{$_[" in ran.page
    for text in (ran.out, ran.err):
        assert not {"\x1b", "\u202e"} & set(text)


@pytest.mark.parametrize(
    "command",
    [
        "sae eval {sae} --train-data none --out {out}",
        "sae sweep --layer 2 --k 2 --features 16,32 --epochs 1 --recipe {recipe} --held-out {data} --out {out}",
    ],
)
def test_hostile_names_are_literal_in_saes(
    run: Callable, hostile: tuple[str, ...], command: str, tmp_path: Path
) -> None:
    name = HOSTILE.replace("/", "")
    _, model, _, data = hostile
    sae = shutil.copytree(Path(model) / "sae" / "L2.P3", tmp_path / name)
    (tmp_path / "recipe.json").write_text(json.dumps({"batch_size": 4}))
    places = {"sae": sae, "out": tmp_path / f"out{name}", "data": data, "recipe": tmp_path / "recipe.json"}
    ran = run(*(word.format(**places) for word in command.split()), *hostile)
    assert ran.code == 0, ran.err
    assert "$x^{$_[" in ran.page
    figures = "".join(path.read_text() for path in places["out"].glob("*.svg"))
    assert "$x^{$_[/b]:smile:\\x1b[31m" in figures
    for text in (ran.out, ran.err, figures):
        assert not {"\x1b", "\u202e"} & set(text)
