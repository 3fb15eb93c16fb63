"""Set-up for every test: kernels run through Triton's interpreter where there is no GPU."""

import os
from typing import Any

import checking
import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before triton is first imported


def pytest_runtest_logstart() -> None:
    """Checks of annotations are counted from each test's start, its fixtures included."""
    checking.refill()


@pytest.fixture
def as_users_call() -> Any:
    """Without the run-time check of annotations, which users do not have: our own errors must catch wrong words."""
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
