"""Options: their panels and defaults, what may be chosen, and what a shell completes."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from codi_int.cli import _choices
from codi_int.cli._complete import join_words
from codi_int.cli._lazy import PANELS, Entry, _loaded
from codi_int.cli._parsing import parse_factors, parse_features, whole_numbers
from codi_int.cli.main import all_commands
from codi_int.errors import ConfigError, FeatureError

ENTRIES = list(all_commands())
NO_DEFAULT = {"--value", "--predict", "--pairs", "--auto", "--step", "--problem", "--base", "--save", "--screen"}
"""options that may be left out and then stand for nothing; so do those of `NOT_ALWAYS`"""
NOT_ALWAYS = {("patch", "--layer"), ("swap", "--feature"), ("swap", "--with"), ("probe", "--k")}
"""a patch of whole thoughts has no layer, kept pairs bring their features, without --k there are no sparse probes"""


def options_of(entry: Entry) -> Iterator[Any]:
    return (option for option in _loaded(entry).params if option.param_type_name == "option")


@pytest.mark.parametrize(("name", "entry"), ENTRIES, ids=lambda part: part if isinstance(part, str) else "")
def test_every_option_stands_in_a_panel_in_their_order(name: str, entry: Entry) -> None:
    panels = [option.rich_help_panel for option in options_of(entry)]
    assert set(panels) <= set(PANELS)
    assert panels == sorted(panels, key=PANELS.index)


@pytest.mark.parametrize(("name", "entry"), ENTRIES, ids=lambda part: part if isinstance(part, str) else "")
def test_every_default_is_shown(name: str, entry: Entry) -> None:
    for option in options_of(entry):
        shown = option.default not in (None, [], ()) or "[default:" in (option.help or "")
        assert (
            option.required
            or option.is_flag
            or shown
            or (option.opts[0] in NO_DEFAULT or (name, option.opts[0]) in NOT_ALWAYS)
        ), option.opts


@pytest.mark.parametrize(("name", "entry"), ENTRIES, ids=lambda part: part if isinstance(part, str) else "")
def test_help_at_80_columns_breaks_no_choice(
    run: Callable, name: str, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = run(*name.split(), "--help").out
    choices = [option for option in options_of(entry) if option.type_descriptor.is_choice and option.metavar is None]
    for option in choices:
        assert f"<{'|'.join(option.type_descriptor.choices)}>" in page, option.opts
    for option in options_of(entry):
        assert option.opts[0] in page
    assert "--help" in page.split("Output")[-1]
    assert "<bool>" not in page


def known_choices() -> dict[str, tuple[str, ...]]:
    """What the library knows, under the names of the types that write it again."""
    from codi_int.data.answers import ANSWER_RULES
    from codi_int.interventions.edits.basic import MODES
    from codi_int.interventions.engine.later import LATERS
    from codi_int.interventions.evidence.family import CORRECTIONS
    from codi_int.interventions.patching.pairs import KINDS as PAIRS
    from codi_int.interventions.screens.rankings import ORDERS
    from codi_int.interventions.screens.thought_map import DIRECTIONS, EACH, KINDS
    from codi_int.interventions.screens.thought_map import LATERS as MAP_LATERS
    from codi_int.model.chain import PADDINGS
    from codi_int.model.hooks import PROPAGATE
    from codi_int.probes.activations import SOURCES
    from codi_int.probes.fitting import METHODS
    from codi_int.sae.config import RULES
    from codi_int.sae.recipe import FREEZE, PRODUCTS, TRAINABLE

    return {
        "Mode": MODES,
        "Propagate": (*PROPAGATE, "split"),
        "Later": LATERS,
        "MapLater": (*MAP_LATERS, EACH),
        "Padding": PADDINGS,
        "AnswerRule": ANSWER_RULES,
        "PairKind": (*PAIRS, "both"),
        "CurveOrder": ORDERS,
        "Correction": CORRECTIONS,
        "MapMode": KINDS,
        "Direction": DIRECTIONS,
        "CaptureType": PRODUCTS,
        "Architecture": TRAINABLE,
        "KeepRule": RULES,
        "Freeze": FREEZE,
        "ProbeSource": SOURCES,
        "ProbeMethod": METHODS,
    }


def test_the_choices_are_those_of_the_library() -> None:
    for name, known in known_choices().items():
        assert set(get_args(getattr(_choices, name))) == set(known), name


def test_features_take_commas_and_ranges() -> None:
    assert parse_features(["3-6,9", "12"]) == (3, 4, 5, 6, 9, 12)
    assert whole_numbers(["10-14", "3,10"], "--layer") == (10, 11, 12, 13, 14, 3)
    assert parse_factors(["2-4,0.5", "-1"]) == (2.0, 3.0, 4.0, 0.5, -1.0)
    for text in ("3-", "-", "a", ""):
        with pytest.raises(FeatureError, match=f"--with takes whole numbers from 0 upwards, got {text!r}"):
            parse_features([text], "--with")
    with pytest.raises(FeatureError, match=r"^--with 6-3 runs downwards\.\nWrite --with 3-6\.$"):
        parse_features(["6-3"], "--with")
    with pytest.raises(ConfigError, match=r"^--factor 4-2 runs downwards\.\nWrite --factor 2-4\.$"):
        parse_factors(["4-2"])


def test_a_range_of_features_is_ablated_together(run: Callable, shelf) -> None:
    ran = run(
        *("ablate", "--feature", "3-5,9", "--layer", "2", "--model", shelf.model, "--data", shelf.data),
        *("--controls", "0", "--json"),
    )
    assert ran.code == 0, ran.err
    assert '"features": [3, 4, 5, 9]' in ran.out


def completed(*words: str, shell: str = "fish", cwd: Path | None = None) -> list[str]:
    """What a shell is offered for the last of some words; torch must not be loaded for it."""
    code = (
        "import sys, codi_int.cli.main as m\n"
        "try: m.main([])\n"
        "except SystemExit: pass\n"
        "sys.stderr.write(' '.join({'torch', 'numpy', 'transformers'} & set(sys.modules)))"
    )
    line = " ".join(("codi-int", *words))
    # bash breaks at colons too, and gives its words one a line
    broken = [word for word in re.split(r"(:)| ", line) if word]
    env = {
        **os.environ,
        "_CODI_INT_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "COMP_WORDS": "\n".join(broken),
        "COMP_CWORD": str(len(broken) - 1),
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env, cwd=cwd)
    assert done.stderr == ""
    return [entry.split("\t")[0] for entry in done.stdout.splitlines() if entry]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("abl",), ["ablate"]),
        (("sae", "tr"), ["train"]),
        (("features", "r"), ["rank"]),
        (("ablate", "--mo"), ["--mode", "--model"]),
        (("ablate", "--mode", "z"), ["zero"]),
        (("ablate", "--model", "codi-m"), ["codi-mini"]),
        (("ablate", "--sae", "codi-mini/L14.P3"), ["codi-mini/L14.P3"]),
        (("eval", "--data", "stories:v"), ["stories:validation"]),
        (("ablate", "--layer", "1"), ["1", "10", "11", "12", "13", "14", "15"]),
        (("screen", "--layer", "3,15"), ["3,15"]),
        (("ablate", "--layer", "14", "--feature", "3,51"), ["3,51", "3,510", "3,511"]),
        (("ablate", "--layer", "99", "--feature", "5"), []),
    ],
)
def test_a_shell_completes_names_and_choices(words: tuple[str, ...], expected: list[str]) -> None:
    assert completed(*words) == expected
    # bash has what stands before a colon, and is given what follows
    assert completed(*words, shell="bash") == [word.split(":")[-1] for word in expected]


@pytest.mark.parametrize(
    ("words", "current", "expected"),
    [
        (
            ["codi-int", "eval", "--data", "stories", ":", "v"],
            5,
            (["codi-int", "eval", "--data", "stories:v"], 3, "stories:"),
        ),
        (
            ["codi-int", "eval", "--data", "stories", ":"],
            4,
            (["codi-int", "eval", "--data", "stories:"], 3, "stories:"),
        ),
        (["codi-int", "eval", "--data", "st"], 3, (["codi-int", "eval", "--data", "st"], 3, "")),
        (["codi-int", "--data", "a", ":", "b", "--lim"], 5, (["codi-int", "--data", "a:b", "--lim"], 3, "")),
        (["codi-int", "eval"], 2, (["codi-int", "eval", ""], 2, "")),
        (["codi-int", "ev", "--data"], 1, (["codi-int", "ev"], 1, "")),
    ],
)
def test_words_that_bash_broke_are_joined(words: list[str], current: int, expected: tuple[list[str], int, str]) -> None:
    assert join_words(words, current) == expected


def test_sites_features_and_saes_of_folders_are_completed(shelf, tmp_path: Path) -> None:
    shutil.copytree(shelf.model, tmp_path / "models" / "mine")
    shutil.copytree(shelf.sae, tmp_path / "saes" / "L2.P3")
    for name in ("own.csv", "own.jsonl", "own.txt"):
        (tmp_path / name).write_text("")
    assert completed("eval", "--data", "ow", cwd=tmp_path) == ["own.csv", "own.jsonl"]
    assert completed("ablate", "--model", "mod", cwd=tmp_path) == ["models/mine"]
    assert completed("ablate", "--sae", "sa", cwd=tmp_path) == ["saes", "saes/L2.P3"]
    words = ("ablate", "--model", "models/mine", "--sae", "saes", "--layer", "2", "--feature", "3")
    assert completed(*words, cwd=tmp_path) == ["3", "30", "31"]
    assert completed("map", "--model", "models/mine", "--layer", "0-", cwd=tmp_path) == ["0-0", "0-1", "0-2", "0-3"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_every_shell_is_shown_and_installed(shell: str, tmp_path: Path) -> None:
    code = "import codi_int.cli.main as m; m.main()"
    env = {**os.environ, "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}

    def ran(*words: str) -> str:
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    script = ran("--show-completion", shell)
    assert f"_CODI_INT_COMPLETE=complete_{shell}" in script
    assert f"{shell} completion installed in {tmp_path}" in ran("--install-completion", shell)
    kept = [path.read_text() for path in tmp_path.rglob("*codi-int*")]
    assert [text.strip() for text in kept] == [script.strip()]


def test_completion_is_offered_in_the_help_of_the_whole(run: Callable) -> None:
    page = re.sub(r"\s+", " ", run("--help").out)
    assert "--install-completion" in page
    assert "--show-completion" in page
