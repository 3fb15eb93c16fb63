"""An experiment as a document: printed by every command, run as it was typed, its digest in the manifest."""

import hashlib
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codi_int.cli._document import make_document, read_document
from codi_int.cli.main import all_commands, option_classes

WORDS = {
    "ablate": "ablate --feature 3-5,9 --layer 2 --mode set --value -0.125",
    "amplify": "amplify --feature 3 --layer 2 --factor -2,0.5",
    "swap": "swap --feature 3 --with 4 --layer 2",
    "patch": "patch --layer 2 --auto different --step 1",
    "screen": "screen --layer 1-2 --position 3,4 --correction max-t --confirm none",
    "curve": "curve --layer 2 --n 1,2",
    "map": "map --no-thoughts --cumulative",
    "eval": "eval --written-chain --limit 7",
    "think": "think -- '-1 and --json?' 'two words'",
    "lens": "lens --limit 3",
    "capture": "capture --layer 1-2 --data gsm8k:test --out unused",
    "doctor": "doctor --remove-eos",
    "compare": "compare runs/a 'runs/b c' --bound 0.01",
    "sae eval": "sae eval codi-mini/L14.P3 --no-splice",
    "sae train": "sae train --layer 2 --position 3 --out unused",
    "sae sweep": "sae sweep --k 5,10 --features 64 --seed 0,1 --no-splice --out unused",
    "features rank": "features rank --layer 2",
    "stop": "stop --thoughts 3",
}


def test_every_command_of_options_is_tried_here() -> None:
    assert set(option_classes()) <= {name for name, _ in all_commands()}
    assert set(WORDS) <= set(option_classes())


@pytest.mark.parametrize("name", WORDS)
def test_a_document_stands_for_the_very_command(name: str, run: Callable, tmp_path: Path) -> None:
    words = shlex.split(WORDS[name])
    start = len(name.split())
    # before the arguments, which may stand behind --
    ran = run(*words[:start], "--as-document", *words[start:])
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert (document["schema"], document["command"]) == ("codi-int/experiment@1", name)
    words = read_document(document, option_classes(), "experiment.json")
    out = ["--out", "unused"] if "--out" in WORDS[name] else []
    again = run(*words[:start], "--as-document", *out, *words[start:])
    assert json.loads(again.out) == document, again.err


def test_a_document_runs_as_it_was_typed(run: Callable, shelf, tmp_path: Path) -> None:
    words = ["ablate", "--feature", str(shelf.living), "--layer", "2", "--model", shelf.model, "--data", shelf.data]
    words += ["--controls", "1"]
    file, out = tmp_path / "experiment.json", tmp_path / "kept"
    file.write_text(run(*words, "--as-document").out)
    document = json.loads(file.read_text())
    assert not {"out", "json", "device", "memory"} & set(document["options"])
    ran = run("run", str(file), "--json", "--out", str(out))
    assert ran.code == 0, ran.err
    found, typed = json.loads(ran.out), json.loads(run(*words, "--json").out)
    assert found.pop("environment")["data_sha256"] == typed.pop("environment")["data_sha256"]
    assert found == typed
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["experiment"] == document
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    assert manifest["digest"] == hashlib.sha256(text.encode()).hexdigest()
    # the command itself goes on in the folder of its document, and another bound is another run
    assert run(*words, "--out", str(out)).code == 0
    assert "--bound is 0.005 there, 0.01 here" in run(*words, "--bound", "0.01", "--out", str(out)).err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "codi-int/result@2"}, "is of schema 'codi-int/result@2'"),
        ({"command": "erase"}, "names the command 'erase'"),
        ({"command": None}, "names the command None"),
        ({"note": "mine"}, "has note, which is no part of it: an experiment has schema, command, options"),
        ({"options": {"layer": 2, "feature": [3], "leyer": 2}}, "has leyer, which is no part of it: ablate has"),
        ({"options": {"layer": 2, "feature": [3], "out": "x"}}, "has out, which is no part of it"),
        ({"options": {"layer": {"from": 2}, "feature": [3]}}, 'layer of .* is {"from": 2}; options are words'),
        ({"options": [1]}, "has options, which is no part of it"),
        ({"options": {"layer": 2}}, "--feature"),
        ({"options": {"layer": "deep", "feature": [3]}}, "--layer takes a whole number, got 'deep'"),
    ],
)
def test_a_document_that_is_none(change: dict, message: str, run: Callable, tmp_path: Path) -> None:
    good = {"schema": "codi-int/experiment@1", "command": "ablate", "options": {"layer": 2, "feature": [3]}}
    (tmp_path / "experiment.json").write_text(json.dumps({**good, **change}))
    ran = run("run", str(tmp_path / "experiment.json"))
    assert ran.code == 2
    assert re.search(message, ran.err), ran.err
    assert len(ran.err.splitlines()) == 2, ran.err


def test_no_document_at_all(run: Callable, tmp_path: Path) -> None:
    for content in (None, "{", "[]"):
        if content is not None:
            (tmp_path / "experiment.json").write_text(content)
        ran = run("run", str(tmp_path / "experiment.json"))
        assert ran.code == 2, ran.err
        assert len(ran.err.splitlines()) == 2, ran.err


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Options of a class by their annotations alone: many of them do not go together, or are no number of problems."""
    plain = {int: st.integers(-2, 30), float: st.sampled_from([-1.5, 0.0, 1e-9, 0.1, 3.0])}
    words = {str: st.sampled_from(["a", "b c", "-1", "--limit", "L1.P2", "none", "'", "é"]), bool: st.booleans()}
    known = {**plain, **words, Path: st.sampled_from([Path("a"), Path("b c/d")]), type(None): st.none()}

    def of(hint: Any) -> st.SearchStrategy[Any]:
        args = get_args(hint)
        if get_origin(hint) is Literal:
            return st.sampled_from(args)
        if get_origin(hint) in (tuple, list):
            # nobody can type no value at all, and a value given twice is one
            return st.lists(of(args[0]), min_size=1, max_size=2, unique=True).map(get_origin(hint))
        return st.one_of(*map(of, args)) if args else known[hint]

    hints = get_type_hints(kind)
    # what is left out keeps its default: most options do, or nothing would go together
    defaults = {one.name: st.just(one.default) for one in fields(kind) if one.default is not MISSING}
    return st.builds(
        kind,
        **{one.name: defaults.get(one.name, st.nothing()) | of(hints[one.name]) for one in fields(kind) if one.init},
    )


# beartype draws from `random` to choose what it checks, which is no part of any example
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.parametrize("name", option_classes())
@settings(max_examples=3, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_options_are_written_and_read_back_or_refused_in_two_lines(
    name: str, run: Callable, data: st.DataObject
) -> None:
    kinds = option_classes()
    document = make_document(name, data.draw(values_of(kinds[name])))
    words = read_document(json.loads(json.dumps(document)), kinds, "experiment.json")
    start = len(name.split())
    out = ["--out", "unused"] if any(one.name == "out" for one in fields(kinds[name])) else []
    ran = run(*words[:start], "--as-document", *out, *words[start:])
    if ran.code == 0:
        assert json.loads(ran.out) == document
    else:
        assert ran.code == 2, ran.err
        assert len(ran.err.splitlines()) == 2, ran.err
