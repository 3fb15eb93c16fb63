"""A small random model and problems that have every target."""

from collections.abc import Sequence
from typing import Any

import pytest

from codi_int.data.stories import load_stories
from codi_int.types import Problem
from tests.interventions.conftest import make_model


@pytest.fixture(scope="session")
def llama() -> Any:
    return make_model("llama", n_layers=2)


@pytest.fixture(scope="session")
def stories() -> Sequence[Problem]:
    return load_stories("validation", limit=80)
