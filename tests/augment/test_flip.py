"""The mirror image: torchvision's pixels and torchvision's draws."""

import pytest
import torch
from torchvision.transforms import v2

from deeper.augment.flip import RandomFlip


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_as_torchvision_does_it(p):
    image = torch.arange(3 * 5 * 7, dtype=torch.uint8).view(5, 7, 3).permute(2, 0, 1)
    ours, theirs = RandomFlip(p), v2.RandomHorizontalFlip(p)
    for seed in range(50):
        torch.manual_seed(seed)
        mirrored = ours(image)
        drawn = torch.rand(1)
        torch.manual_seed(seed)
        assert torch.equal(mirrored, theirs(image))
        assert torch.equal(drawn, torch.rand(1))
