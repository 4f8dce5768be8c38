"""What many tests look at: the movies that a new user sees first."""

from pathlib import Path

import pytest
from movies import run


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output directory of ``mrc2movie --demo``."""
    directory = tmp_path_factory.mktemp("demo")
    assert run("--demo", directory, "--quiet") == 0
    return directory
