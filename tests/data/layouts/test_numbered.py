"""ImageNet-V2's folders 0 … 999: a label is the folder's number, not its index among the sorted names."""

import numpy as np
import pytest
from PIL import Image

from deeper.augment.crops import CenterCrop
from deeper.data import classes, layouts
from deeper.data.datamodule import ImageData
from deeper.data.sources.imagenet import ImageNet


@pytest.fixture
def root(tmp_path):
    """A grey image in each folder, of brightness number // 4."""
    for number in range(1000):
        folder = tmp_path / "v2" / str(number)
        folder.mkdir(parents=True)
        grey = np.full((9, 9, 3), number // 4, np.uint8)
        Image.fromarray(grey).save(folder / "a.png")
    return tmp_path / "v2"


def data(root, cache):
    module = ImageData(
        ImageNet,
        root=str(root),
        cache=str(cache),
        image_size=8,
        batch_size=4,
        augment={},
        protocol=CenterCrop,
        seed=0,
        workers=0,
    )
    module.prepare_data()
    module.setup()
    return module


def test_the_number_of_a_folder_is_the_label(root, tmp_path):
    module = data(root, tmp_path / "cache")
    assert module.classes == [*classes.wnids()]
    assert len(module.splits.train) == 0
    for label in (0, 1, 2, 10, 999):
        (place,) = np.flatnonzero(module.splits.test.labels == label)
        picture, found = module.splits.test[int(place)]
        assert found == label
        assert picture.pixels()[0][0, 0, 0] == label // 4
    seen = sum(int(batch.valid.sum()) for batch in module.test_dataloader())
    assert seen == 1000


def test_nothing_is_trained_on_it(root, tmp_path):
    with pytest.raises(ValueError, match="only a test set; train on another, and judge"):
        data(root, tmp_path / "cache").require_trainable(None, test=False)


def test_a_folder_more_or_less_is_another_form(root):
    assert layouts.find_layout(root).__name__.endswith("numbered")
    (root / "1000").mkdir()
    with pytest.raises(ValueError, match=r"numbered  0/\* … 999/\*, a test set alone"):
        layouts.find_layout(root)
