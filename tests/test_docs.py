"""The pages: docs/reference says what the code says; every link, picture, anchor and page that is named exists."""

import re
import runpy
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch

import codi_int
from codi_int.cli.main import all_commands

ROOT = Path(__file__).parents[1]
REFERENCE = runpy.run_path(str(ROOT / "scripts" / "reference.py"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
SOURCES = sorted(p for folder in ("codi_int", "benchmarks", "scripts") for p in (ROOT / folder).rglob("*.py"))
LINK = re.compile(r"\]\(([^()\s]+)\)")


def name(path: Path) -> str:
    """The path as it stands in messages."""
    return str(path.relative_to(ROOT))


def prose(page: Path) -> str:
    """The page without its blocks of code, whose brackets are no links."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What `#...` may name in a page: its headings, as GitHub turns them into anchors."""
    titles = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):  # another site's
            continue
        file, _, anchor = unquote(link).partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_resolve(page: Path) -> None:
    assert not broken(page)


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One title\n[a](#one-title) [b](#two) ![c](none.png) [d](page.md) [e](https://example.org)\n")
    assert broken(page) == ["#two", "none.png"]


@pytest.mark.parametrize("source", [*SOURCES, *PAGES], ids=name)
def test_pages_that_are_named_exist(source: Path) -> None:
    """`docs/x/y.md` in a docstring or a table, which is no link."""
    if source.name == "CHANGELOG.md":  # it names pages by the names that they had then
        return
    for path in re.findall(r"\bdocs/[\w/-]+\.md\b", source.read_text(encoding="utf-8")):
        assert (ROOT / path).is_file(), path


def test_every_picture_is_shown() -> None:
    shown = {Path(link).name for page in PAGES for link in LINK.findall(prose(page))}
    kept = {path.stem for path in (ROOT / "docs").rglob("images/*")}
    assert kept == {Path(file).stem for file in shown} & kept


def test_every_page_can_be_reached() -> None:
    """From the index, by links alone."""
    seen, todo = set(), [ROOT / "docs" / "index.md"]
    while todo:
        page = todo.pop().resolve()
        if page in seen or page.suffix != ".md" or not page.is_file():
            continue
        seen.add(page)
        todo += [page.parent / link.partition("#")[0] for link in LINK.findall(prose(page)) if ":" not in link]
    assert {name(page) for page in (ROOT / "docs").rglob("*.md")} <= {name(page) for page in seen}


@pytest.mark.parametrize("page", REFERENCE["WRITERS"])
def test_the_reference_is_what_the_code_says(page: str) -> None:
    kept = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    assert kept == REFERENCE["WRITERS"][page](), "docs/reference is out of date: make reference"


def test_the_reference_has_every_public_name_and_command() -> None:
    api = REFERENCE["api_page"]()
    assert [name for name in codi_int.__all__ if f"\n### {name}\n" not in api] == []
    cli = REFERENCE["cli_page"]()
    names = [name for name, _ in all_commands()]
    assert [name for name in names if f"\n## codi-int {name}\n" not in cli] == []
    assert "\n## codi-int sae train\n" in cli
    assert "\n## codi-int features rank\n" in cli


def test_docstrings_become_markdown() -> None:
    doc = """Ids that end in <bot>.

    Args:
        ids: of the model,
            `<bot>` last.

    Returns:
        what it
        writes.
    """
    assert REFERENCE["markdown"](doc) == (
        "Ids that end in &lt;bot>.\n\n*Args*\n\n- `ids`: of the model, `<bot>` last.\n\n*Returns:* what it writes."
    )


def rows_of_the_map() -> list[tuple[str, str]]:
    """(the cell with the links, the cell with the names) of every row of the map of the code."""
    page = ROOT / "docs" / "explanation" / "code-map.md"
    rows = [line.strip("|").split(" | ") for line in page.read_text(encoding="utf-8").splitlines() if "](" in line]
    return [(row[1], row[2]) for row in rows if len(row) == 3]


@pytest.mark.parametrize(("links", "names"), rows_of_the_map())
def test_what_the_map_names_is_there(links: str, names: str) -> None:
    files = [ROOT / "docs" / "explanation" / link for link in LINK.findall(links)]
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    wanted = re.findall(r"`(\w+)`", names)
    assert wanted
    defined = r"(def|class|async def) {0}\b|^ *{0}\b.*=|^ *{0}: |\b{0}:"
    assert [name for name in wanted if not re.search(defined.format(name), text, re.MULTILINE)] == []


def run_guide(name: str, limit: int = 400, **names: object) -> dict[str, object]:
    """What the Python of a page leaves, its blocks run in turn; `names`: those that it takes for granted."""
    page = ROOT / "docs" / "guides" / name
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE))
    # fewer problems than a reader would take
    exec(compile(code.replace("limit=400", f"limit={limit}"), page.name, "exec"), names)
    return names


def test_the_python_of_the_guide_to_edits_runs() -> None:
    assert set(run_guide("edits.md")["receipt"].fired) == {3}  # type: ignore[attr-defined]


def test_the_python_of_the_guides_to_own_problems_and_saes_runs() -> None:
    assert len(run_guide("own-data.md")["problems"]) == 50  # type: ignore[arg-type]
    assert run_guide("own-sae.md")["trained"].sae.d_sae == 64  # type: ignore[attr-defined]


def test_the_problems_that_the_guide_shows_are_read(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "guides" / "own-data.md").read_text(encoding="utf-8")
    lines = re.search(r"^```json\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert lines is not None
    (tmp_path / "mine.jsonl").write_text(lines[1])
    problems = codi_int.load_problems(str(tmp_path / "mine.jsonl"))
    assert [(p.id, p.answer, len(p.steps)) for p in problems] == [("mine-1", 12, 1), ("third", 12, 0)]


def test_the_python_of_the_guide_to_patches_runs() -> None:
    left = run_guide("patching.md", limit=60)
    assert left["result"].prediction.n_tested > 0  # type: ignore[attr-defined]


def test_the_python_of_the_page_on_kernels_runs() -> None:
    x, weights = torch.randn(3, 8), torch.randn(8, 128)
    left = run_guide("../explanation/kernels.md", x=x, W_enc=weights, b_enc=torch.zeros(128))
    assert left["kept"].values.shape == (3, 100)  # type: ignore[attr-defined]


def test_the_python_of_the_guide_to_sharing_sends_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = pytest.importorskip("neuronpedia.requests.feature_request").FeatureRequest
    sent: list[object] = []
    monkeypatch.setattr(client, "__init__", lambda self: None)
    monkeypatch.setattr(client, "send_request", lambda self, method, uri, json: sent.append((method, uri, json)))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "neuronpedia"
    folder.mkdir(parents=True)
    for number in range(2):
        (folder / f"neuronpedia-{number:03d}.json").write_text(f'{{"batch": {number}}}')
    run_guide("sharing.md")
    assert sent == [("POST", "upload-batch", {"batch": number}) for number in range(2)]
