"""The entry point: help, speed, errors, interrupts."""

import inspect
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from codi_int.cli import main, sae
from codi_int.cli._lazy import Entry

ENTRIES = [entry for entry in (*main.COMMANDS, *sae.COMMANDS) if entry.name != "sae"]


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, codi_int.cli.main as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'transformers', 'scipy', 'numpy', 'jaxtyping'} & set(sys.modules)))"
    )
    started = time.process_time(), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")
    assert "ablate" in done.stdout
    assert time.perf_counter() - started[1] < 20.0  # the half second is measured where the machine is idle


@pytest.mark.parametrize("words", [["--help"], ["sae", "--help"]])
def test_help_of_a_group_loads_none_of_its_commands(words: list[str]) -> None:
    code = (
        "import sys, codi_int.cli.main as m\n"
        f"try: m.main({words})\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "codi_int.cli.main" in loaded
    assert ("codi_int.cli.sae" in loaded) == ("sae" in words)
    assert not loaded & {entry.target.split(":")[0] for entry in ENTRIES}


def test_no_command_loads_anything_heavy_for_its_help() -> None:
    modules = sorted({entry.target.split(":")[0] for entry in ENTRIES})
    code = f"import sys, {', '.join(modules)}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert set(modules) <= loaded
    assert not loaded & {"torch", "transformers", "scipy", "numpy", "jaxtyping"}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.target)
def test_a_line_of_help_is_the_first_of_the_commands_own(entry: Entry) -> None:
    assert entry.help == (inspect.getdoc(entry.load()) or "").split("\n\n")[0]


def test_the_line_of_the_laboratory_is_its_own() -> None:
    (entry,) = (entry for entry in main.COMMANDS if entry.name == "sae")
    assert entry.load() is sae.make_app
    assert entry.help == inspect.getdoc(sae.sae)


def test_every_command_has_help_with_an_example(run: Callable) -> None:
    for command in ("ablate", "amplify", "swap"):
        ran = run(command, "--help")
        assert ran.code == 0
        assert f"codi-int {command} --feature" in ran.out
    assert run("eval", "--help").code == 0


def test_no_command_shows_help(run: Callable) -> None:
    ran = run()
    assert "ablate" in ran.out + ran.err


def test_version_is_the_packages(run: Callable) -> None:
    from codi_int import __version__

    assert run("--version").out.strip() == __version__


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("abblate",), "abblate"),
        (("ablate", "--feature", "1"), "--layer"),
        (("ablate", "--layer", "2"), "--feature"),
        (("ablate", "--feature", "1", "--layer", "two"), "--layer takes a whole number, got 'two'"),
        (("ablate", "--feature", "1", "--layer", "2", "--colour", "red"), "--colour"),
    ],
)
def test_words_that_make_no_command_give_two_lines(run: Callable, words: tuple[str, ...], says: str) -> None:
    ran = run(*words)
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.strip().splitlines()) == 2
    assert ran.out == ""


def test_interrupt_is_a_clean_stop(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("codi_int.data.problems.load_problems", interrupted)
    ran = run("eval")
    assert ran.code == 130
    assert "Stopped." in ran.err
    assert "Traceback" not in ran.err


def test_bugs_say_so_and_debug_shows_where(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("it broke")

    monkeypatch.setattr("codi_int.cli._console.progress", broken)
    plain = run("eval")
    assert plain.code == 1
    assert "RuntimeError: it broke" in plain.err
    assert "Traceback" not in plain.err
    assert "Traceback" in run("eval", "--debug").err
