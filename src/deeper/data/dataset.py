"""Samples of a split: each image through a pipeline of transforms, under a seed of its own."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2.functional import pil_to_tensor

from deeper.augment.crops import Crop
from deeper.data.batch import Sample
from deeper.data.images.encoded import Encoded
from deeper.data.sampler import SampleKey, seed_sample
from deeper.data.source import LabelledImages

Transform = Callable[[Any], Any]


class Pipeline:
    """Transforms in the order of the config: an image of any size → uint8 [3, size, size].

    The first transform gets a PIL image in RGB, or the encoded image if it is a `Crop`. A name that
    maps to an empty mapping is no transform (`augment/color=none`). With `views` above 1 the result
    is uint8 [views, 3, size, size].
    """

    def __init__(
        self, transforms: Mapping[str, Transform | Mapping[str, Any]], size: int, views: int = 1
    ) -> None:
        self.transforms: dict[str, Transform] = {}
        for name, step in transforms.items():
            if callable(step):
                self.transforms[name] = step
            elif step != {}:
                raise ValueError(
                    f"augment.{name}: {step!r} is no transform; give it a _target_ that builds one"
                )
        self.shape = (3, size, size) if views == 1 else (views, 3, size, size)
        self._decodes = isinstance(next(iter(self.transforms.values()), None), Crop)

    def __call__(self, image: Image | Encoded) -> Tensor:
        result: Any = image
        if isinstance(image, Encoded) and not self._decodes:
            result = image.pil()
        for transform in self.transforms.values():
            result = transform(result)
        if not isinstance(result, Tensor):
            result = pil_to_tensor(result)
        if result.shape != self.shape or result.dtype != torch.uint8:
            names = ", ".join(self.transforms) or "no transform"
            raise ValueError(
                f"{names} made {result.dtype} {list(result.shape)} of an image; expected "
                f"torch.uint8 {list(self.shape)}: let a crop come first, e.g. augment/crop=fixed"
            )
        plain: Tensor = result.as_subclass(Tensor)
        return plain


class Samples(Dataset[Sample]):
    """The images of a split through a pipeline, each sample under a seed of its own."""

    def __init__(self, images: LabelledImages, pipeline: Pipeline, seed: int) -> None:
        self.images, self.pipeline, self.seed = images, pipeline, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: SampleKey) -> Sample:
        seed_sample(self.seed, key)
        image, label = self.images[key.index]
        return Sample(self.pipeline(image), label, key.index, key.valid)
