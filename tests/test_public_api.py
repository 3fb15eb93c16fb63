"""The package: the names promised, that they load, and that importing it is light."""

import subprocess
import sys

import pytest

import codi_int


def test_names_are_sorted_and_load():
    assert codi_int.__all__ == sorted(codi_int.__all__)
    for name in codi_int.__all__:
        assert getattr(codi_int, name).__module__.startswith("codi_int."), name
    assert set(codi_int.__all__) <= set(dir(codi_int))


def test_the_contract_is_there():
    promised = {
        "load_model",
        "load_problems",
        "load_sae",
        "FeatureInterventionEngine",
        "Site",
        "Ablate",
        "Amplify",
        "Swap",
        "compare_paired",
        "extract_answer",
        "parse_steps",
        "encode_topk",
        *("train_sae", "SAETrainingConfig", "save_sae", "capture_to_disk", "open_capture", "HookPoint", "check_parity"),
    }
    assert promised <= set(codi_int.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = codi_int.no_such_name


def test_importing_the_package_loads_nothing_heavy():
    code = "import codi_int, sys; print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
