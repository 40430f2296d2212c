"""Networks on images of other sizes than `image_size`."""

import pytest
import torch
from torch import nn

from deeper.models.geometry import relative_work, training_size, training_sizes
from deeper.models.sizes import accept_sizes


def test_a_network_takes_larger_images_in_evaluation(build):
    net = build(image_size=48, width=0.125, aux="both")
    larger = build(image_size=60, width=0.125)
    accept_sizes(net, {"image_size": 48, "eval_scale": 1.25})
    larger.load_state_dict(net.state_dict(), strict=False)
    images = torch.rand(2, 3, 60, 60)
    with pytest.raises(ValueError, match="built for 48×48"):
        net(images)
    assert torch.equal(net.eval()(images).logits, larger.eval()(images).logits)
    assert net(torch.rand(2, 3, 48, 48)).logits.shape == (2, 7)
    with pytest.raises(ValueError, match="built for 48×48"):
        net(torch.rand(2, 3, 56, 56))


def test_a_network_takes_smaller_images_in_training(build):
    net = build(image_size=48, width=0.125)
    accept_sizes(net, {"image_size": 48, "initial_scale": 0.75})
    for size in (36, 40, 44, 48):
        assert net(torch.rand(2, 3, size, size)).logits.shape == (2, 7)
    with pytest.raises(ValueError, match="built for 48×48"):
        net(torch.rand(2, 3, 32, 32))
    with pytest.raises(ValueError, match="built for 48×48"):
        net.eval()(torch.rand(2, 3, 40, 40))


def test_auxiliary_heads_with_fully_connected_layers_refuse_smaller_images(build):
    net = build(image_size=64, width=0.125, aux="both")
    message = "0.5: the network takes images of 64 px, but not of 32 px in training; pass"
    with pytest.raises(ValueError, match=f"^data.initial_scale={message}"):
        accept_sizes(net, {"image_size": 64, "initial_scale": 0.5})


def test_training_images_grow_in_steps_of_four_pixels():
    fractions = [0, 0.49, 0.5, 0.56, 0.64, 0.7, 0.76, 0.8, 1]
    assert [training_size(224, 0.9, f) for f in fractions] == [
        200, 200, 200, 208, 212, 216, 220, 224, 224,
    ]  # fmt: skip
    assert [training_size(30, 0.75, f) for f in (0, 0.8)] == [22, 30]
    assert training_sizes(128, 0.75) == [*range(96, 129, 4)]
    assert training_sizes(30, 1.0) == [30]
    for scale in (0, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"a part of image_size, in 0\.\.1"):
            training_size(32, scale, 0.0)


def test_the_work_of_a_training_is_that_of_its_pixels():
    assert relative_work(1.0, 0.25, 0.75) == pytest.approx(0.5)
    assert relative_work(0.75, 0.0, 0.5) == pytest.approx(0.5 * 0.75**2)
    assert relative_work(0.75, 0.8, 1.0) == pytest.approx(0.2)
    growing = 0.3 * (1 - 0.75**3) / 3 / 0.25  # the mean of x² from 0.75 to 1
    assert relative_work(0.75, 0.5, 0.8) == pytest.approx(growing, rel=1e-3)


@pytest.mark.parametrize("scale", [0.9, 0, float("nan")])
def test_evaluation_images_are_not_smaller(build, scale):
    with pytest.raises(
        ValueError, match=r"^eval_scale=.*: a multiple of image_size; must be at le"
    ):
        accept_sizes(build(image_size=32, width=0.125), {"image_size": 32, "eval_scale": scale})


class Fixed(nn.Module):
    def forward(self, images):
        return images.reshape(len(images), 3 * 32 * 32)


@pytest.mark.parametrize("fixed", [True, False])
def test_a_network_for_one_size_is_refused(build, fixed):
    net = Fixed() if fixed else build(image_size=32, width=0.125, head="fc")
    message = r"^data\.eval_scale=1\.5: the network takes images of 32 px, but not of 48 px in evaluation; "
    with pytest.raises(ValueError, match=message):
        accept_sizes(net, {"image_size": 32, "eval_scale": 1.5})
    accept_sizes(net, {"image_size": 32, "eval_scale": 1.0})
