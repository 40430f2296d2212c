"""Sizes of feature maps: arithmetic against the network, and advice that must hold."""

import re
import subprocess
import sys

import pytest
import torch

from deeper.models import geometry
from deeper.models.geometry import auto_stem, feature_sizes

TAPS = {"none": [], "4a": ["inception4a"], "4d": ["inception4d"], "inception5b": ["inception5b"]}


def real_sizes(net):
    sizes = {}
    for name in [stage for stage in net.stages if stage.startswith("inception")]:
        net.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: sizes.__setitem__(name, out.shape[-1])
        )
    net(torch.empty(2, 3, net.image_size, net.image_size, device="meta"))
    return sizes


@pytest.mark.parametrize("stem", ["imagenet", "small"])
def test_arithmetic_agrees_with_the_network(build, stem):
    for size in range(32, 257, 7):  # even and odd sizes
        net = build(image_size=size, stem=stem, width=0.125, device="meta")
        assert feature_sizes(size, stem) == real_sizes(net), size


@pytest.mark.parametrize(
    ("size", "stem", "kernel"), [(32, "small", 3), (64, "small", 3), (65, "imagenet", 7)]
)
def test_auto_stem(build, size, stem, kernel):
    assert auto_stem(size) == stem
    conv1 = build(image_size=size, width=0.125, device="meta").conv1.conv
    assert conv1.kernel_size == (kernel, kernel)


@pytest.mark.parametrize(
    ("size", "stem", "aux", "message"),
    [
        (0, "auto", "none", "image_size=0: must be a positive number of pixels"),
        (
            7, "auto", "none",
            "image_size=7 is too small for stage inception5b behind stem 'small'; "
            "the smallest that works is 8: data.image_size=8",
        ),
        (
            30, "imagenet", "none",
            "image_size=30 is too small for stage inception5b behind stem 'imagenet'; "
            "the smallest that works is 31: data.image_size=31 or model.stem=small",
        ),
        (
            19, "auto", "both",
            "image_size=19 is too small for the auxiliary head at inception4a behind stem 'small'; "
            "the smallest that works is 20: data.image_size=20 or model/aux=none",
        ),
        (
            78, "auto", "4d",
            "image_size=78 is too small for the auxiliary head at inception4d behind stem "
            "'imagenet'; the smallest that works is 79: data.image_size=79 or model.stem=small "
            "or model/aux=none",
        ),
        (
            64, "auto", "conv2",
            "no stage 'conv2' to tap; the stages are inception3a, inception3b, inception4a, "
            "inception4b, inception4c, inception4d, inception4e, inception5a, inception5b",
        ),
        (
            64, "auto", "inception6a",
            "no stage 'inception6a' to tap; the stages are inception3a, inception3b, inception4a, "
            "inception4b, inception4c, inception4d, inception4e, inception5a, inception5b",
        ),
    ],
)  # fmt: skip
def test_refusals(build, size, stem, aux, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        build(image_size=size, stem=stem, aux=aux, device="meta")


@pytest.mark.parametrize("aux", TAPS)
@pytest.mark.parametrize("stem", ["imagenet", "small"])
def test_the_size_advised_is_the_smallest_that_runs(build, stem, aux):
    def refusal(size):
        with pytest.raises(ValueError, match="too small") as error:
            geometry.require_room(size, stem, TAPS[aux])
        return int(re.search(r"data\.image_size=(\d+)", str(error.value))[1])

    least = refusal(1)
    assert {refusal(size) for size in range(1, least)} == {least}
    # On the CPU and with values: pools and layers complain only where there is something to read.
    net = build(image_size=least, stem=stem, aux=aux, width=0.125)
    logits, answers = net(torch.randn(2, 3, least, least))
    assert [x.shape for x in (logits, *answers.values())] == [(2, 7)] * (1 + len(TAPS[aux]))


@pytest.mark.parametrize(
    ("advice", "stem", "taps"),
    [("model.stem=small", "small", TAPS["4a"]), ("model/aux=none", "imagenet", [])],
)
def test_other_advice_holds_too(advice, stem, taps):
    for size in range(1, 79):
        with pytest.raises(ValueError, match="too small") as error:
            geometry.require_room(size, "imagenet", TAPS["4a"])
        if advice in str(error.value):
            geometry.require_room(size, stem, taps)


def test_a_config_may_ask_without_torch():
    code = "import sys, deeper.models.geometry; sys.exit('torch' in sys.modules)"
    path = {"PYTHONPATH": str(geometry.__file__).removesuffix("/deeper/models/geometry.py")}
    assert subprocess.run([sys.executable, "-c", code], env=path).returncode == 0
