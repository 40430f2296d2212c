"""From stored pixels to what a network reads, and images of a size that a network was not built for."""

import pytest
import torch
import torch.nn.functional as F

from deeper.models.preprocess import Preprocess, resized

# Two pixels side by side, red 0 and 255, green 51 and 102, blue 204 and 153.
PIXELS = torch.tensor([[0, 255], [51, 102], [204, 153]], dtype=torch.uint8).view(1, 3, 1, 2)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (  # torchvision's convention: on 0..1. Red (0 − 0.5) / 0.25 = −2, and so on.
            {"mean": [0.5, 0.4, 0.2], "std": [0.25, 0.2, 0.5]},
            [[-2.0, 2.0], [-1.0, 0.0], [1.2, 0.8]],
        ),
        (  # Caffe's: blue first, on 0..255, the mean subtracted, in the same order.
            {"mean": [104, 117, 123], "std": [1, 1, 1], "scale": 1.0, "channels": "bgr"},
            [[100.0, 49.0], [-66.0, -15.0], [-123.0, 132.0]],
        ),
    ],
    ids=["rgb", "bgr"],
)
def test_by_hand(options, expected):
    result = Preprocess(**options)(PIXELS)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result, torch.tensor(expected).view(1, 3, 1, 2))


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_pixels_are_left_alone(channels):
    pixels = PIXELS.clone()
    Preprocess([0.5] * 3, [0.5] * 3, channels=channels)(pixels)
    assert torch.equal(pixels, PIXELS)


def test_constants_are_saved_with_the_weights():
    saved = Preprocess([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]).state_dict()
    assert {name: value.flatten().tolist() for name, value in saved.items()} == {
        "mean": pytest.approx([0.1, 0.2, 0.3]),
        "std": pytest.approx([0.4, 0.5, 0.6]),
    }
    other = Preprocess([0.0] * 3, [1.0] * 3)
    other.load_state_dict(saved)
    torch.testing.assert_close(other.std.flatten(), torch.tensor([0.4, 0.5, 0.6]))


def test_whole_numbers_in_a_config_make_float_constants():
    preprocess = Preprocess([104, 117, 123], [1, 1, 1])
    preprocess.load_state_dict(Preprocess([103.939, 116.779, 123.68], [0.5] * 3).state_dict())
    assert preprocess.mean.flatten().tolist() == pytest.approx([103.939, 116.779, 123.68])


def test_float_images_are_left_alone():
    images = PIXELS.float()
    Preprocess([0.5] * 3, [0.5] * 3)(images)
    assert torch.equal(images, PIXELS.float())


@pytest.mark.parametrize(
    ("mean", "std"), [([0, 0], [1, 1, 1]), ([0, 0, 0], [1, 1]), ([0, 0, 0], [1, 0, 1])]
)
def test_refuses_wrong_constants(mean, std):
    with pytest.raises(ValueError, match=r"three values each, std above 0$"):
        Preprocess(mean, std)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(("height", "width"), [(48, 48), (32, 40), (40, 32)])
def test_a_network_refuses_another_size(build, height, width, mode):
    """An average pool would swallow any size; a fully connected head would not."""
    net = build(image_size=32, width=0.125)
    getattr(net, mode)()
    message = (
        f"^images of {height}×{width} px, but this network was built for 32×32: "
        "set data.image_size, or resize$"
    )
    with pytest.raises(ValueError, match=message):
        net(torch.zeros(1, 3, height, width))
    with pytest.raises(ValueError, match=message):
        net.forward_features(torch.zeros(1, 3, height, width))


def test_resized_images_are_averages_of_their_surroundings():
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    images = images.to(memory_format=torch.channels_last)
    assert resized(images, 32) is images
    small = resized(images, 24)
    assert small.dtype == torch.uint8
    exact = F.interpolate(images.double(), (24, 24), mode="bilinear", antialias=True)
    assert (small - exact).abs().max() < 1.1  # rounded twice, with weights of 16 bits
