"""Networks on larger images than those of the training."""

import pytest
import torch
from torch import nn

from deeper.models.evaluation import accept_eval_size


def test_a_network_takes_larger_images_in_evaluation(build):
    net = build(image_size=48, width=0.125, aux="both")
    larger = build(image_size=60, width=0.125)
    accept_eval_size(net, 48, 1.25)
    larger.load_state_dict(net.state_dict(), strict=False)
    images = torch.rand(2, 3, 60, 60)
    with pytest.raises(ValueError, match="built for 48×48"):
        net(images)
    assert torch.equal(net.eval()(images).logits, larger.eval()(images).logits)
    assert net(torch.rand(2, 3, 48, 48)).logits.shape == (2, 7)
    with pytest.raises(ValueError, match="built for 48×48"):
        net(torch.rand(2, 3, 56, 56))


@pytest.mark.parametrize("scale", [0.9, 0, float("nan")])
def test_evaluation_images_are_not_smaller(build, scale):
    with pytest.raises(
        ValueError, match=r"^eval_scale=.*: a multiple of image_size; must be at le"
    ):
        accept_eval_size(build(image_size=32, width=0.125), 32, scale)


class Fixed(nn.Module):
    def forward(self, images):
        return images.reshape(len(images), 3 * 32 * 32)


@pytest.mark.parametrize("fixed", [True, False])
def test_a_network_for_one_size_is_refused(build, fixed):
    net = Fixed() if fixed else build(image_size=32, width=0.125, head="fc")
    message = (
        r"^data\.eval_scale=1\.5: the network takes images of 32 px, but not of the 48 px of an"
    )
    with pytest.raises(ValueError, match=message):
        accept_eval_size(net, 32, 1.5)
    accept_eval_size(net, 32, 1.0)
