"""Every numeric option of every command refuses absurd numbers before the work, in two lines and its own name."""

from collections.abc import Callable, Iterator

import pytest

from codi_int.cli._lazy import _loaded
from codi_int.cli.main import COMMANDS, all_commands

ABSURD = str(10**30)
FREE = {"--value", "--factor", "--lora-alpha", "--memory-gib", "--minutes"}
"""numbers without an upper end; they must be finite"""


def numeric_options() -> Iterator[tuple[str, str, str]]:
    """(command, option, absurd text) for all options that show N or a number as what they take."""
    for command, entry in all_commands():
        for parameter in _loaded(entry).params:
            name = parameter.opts[0]
            if name.startswith("--") and name in FREE and name != "--minutes":
                yield command, name, "nan"
            elif name.startswith("--") and parameter.metavar == "N":
                yield command, name, ABSURD


def needed(command: str) -> list[str]:
    """Words for the options that a command cannot do without."""
    words = command.split()
    params = {"ablate": ["--feature=1"], "amplify": ["--feature=1", "--factor=2"], "swap": ["--feature=1", "--with=2"]}
    words += params.get(command, [])
    words += ["--target=n_steps"] if command == "probe" else []
    words += ["--layer=2"] if command in {"ablate", "amplify", "swap", "screen", "curve", "patch"} else []
    words += ["--out=/nowhere"] if command in {"capture", "sae train", "sae sweep", "sae import"} else []
    return [*words, *(["x"] if command in {"sae eval", "sae import", "sae export"} else [])]


@pytest.mark.parametrize(("command", "option", "text"), sorted(numeric_options()))
def test_absurd_numbers_are_refused(run: Callable, command: str, option: str, text: str) -> None:
    ran = run(*needed(command), f"{option}={text}")
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert option in ran.err
    assert len(ran.err.strip().splitlines()) == 2


@pytest.mark.parametrize("option", ["--seed", "--limit", "--controls", "--directions", "--neurons"])
def test_counts_below_their_least_are_refused(run: Callable, option: str) -> None:
    ran = run("ablate", "--layer=2", "--feature=1", f"{option}=-1")
    assert (ran.code, len(ran.err.strip().splitlines())) == (2, 2)
    assert f"{option} is -1" in ran.err


@pytest.mark.parametrize("words", [("screen", "--layer=2", "--top=-1"), ("lens", "--top=-1"), ("lens", "--top=0")])
def test_top_counts_from_its_least(run: Callable, words: tuple[str, ...]) -> None:
    ran = run(*words)
    assert (ran.code, "--top is" in ran.err) == (2, True)


def test_a_range_of_too_many_and_five_thousand_digits_are_refused(run: Callable) -> None:
    assert "numbers; it takes" in run("screen", "--layer=0-999999999").err
    assert "5,000 digits" in run("eval", f"--limit={'9' * 5000}").err


def test_the_group_itself_has_no_numbers() -> None:
    groups = [_loaded(entry) for entry in COMMANDS if entry.entries]
    assert len(groups) == 2
    assert not [parameter for group in groups for parameter in group.params if parameter.metavar == "N"]


@pytest.mark.parametrize("feature", ["-1", "99", "1,1", "1,-2"])
def test_features_that_cannot_be_are_two_lines(run: Callable, shelf, feature: str) -> None:
    ran = run("ablate", "--model", shelf.model, "--data", shelf.data, "--layer=2", f"--feature={feature}")
    assert (ran.code, ran.out) == (2, "")
    rule, remedy = [line for line in ran.err.splitlines() if not line.startswith("clean pass")]
    assert rule.startswith("codi-int: ")
    assert feature.split(",")[-1] in rule
    assert remedy


def test_what_is_no_bound_is_told_one_that_is(run: Callable) -> None:
    ran = run("ablate", "--feature", "3", "--layer", "2", "--bound", "half")
    assert ran.err == "codi-int: --bound takes a number, got 'half'.\nWrite --bound 0.005, for example.\n"
