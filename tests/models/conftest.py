"""`build`: networks from the names of their parts."""

import pytest
from parts import build_googlenet


@pytest.fixture(scope="session")
def build():
    return build_googlenet
