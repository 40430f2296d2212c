"""The pictures in docs/figures are those that `make figures` draws now."""

import re

import matplotlib
import numpy as np
import pytest
from entry import PROJECT
from PIL import Image

from deeper.figures.__main__ import FIGURES, FOLDER

LOCKED = re.search(r"^matplotlib==(\S+)", (PROJECT / "requirements.lock").read_text(), re.M)[1]


def test_each_committed_figure_is_drawn_and_small():
    assert {path.name for path in FOLDER.iterdir()} == {*FIGURES}
    assert all(path.stat().st_size < 150_000 for path in FOLDER.iterdir())


@pytest.mark.skipif(matplotlib.__version__ != LOCKED, reason="another matplotlib draws otherwise")
@pytest.mark.parametrize("name", FIGURES)
def test_it_is_drawn_the_same_again(name, tmp_path):
    FIGURES[name]().save(tmp_path / name)
    if name.endswith(".svg"):
        assert (tmp_path / name).read_text() == (FOLDER / name).read_text()
    else:
        new, old = (
            np.asarray(Image.open(folder / name).convert("RGB"), np.float32)
            for folder in (tmp_path, FOLDER)
        )
        assert new.shape == old.shape
        assert np.abs(new - old).mean() < 2  # of 255: decoders and quantisers may round otherwise
