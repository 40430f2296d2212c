"""torchvision's GoogLeNet and ours with the same random weights."""

import pytest
import torch
import torchvision
from torch.nn.functional import interpolate

from deeper.models.geometry import feature_sizes
from deeper.models.pretrained import nets
from deeper.models.pretrained.torchvision import read
from deeper.models.pretrained.weights import load_weights

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # of ImageNet, as torchvision has them


def count(net):
    return sum(p.numel() for p in net.parameters())


def theirs(dtype=torch.float64, **options):
    """Of torchvision, with values drawn so that neither signal nor running statistics are trivial."""
    torch.manual_seed(0)
    options = {"aux_logits": True, "dropout": 0.0, "dropout_aux": 0.0, "num_classes": 50} | options
    net = torchvision.models.googlenet(weights=None, init_weights=False, **options)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if value.ndim > 1:
                value.normal_(0, (2 / value[0].numel()) ** 0.5)
            elif name.endswith(("running_var", "bn.weight")):
                value.uniform_(0.5, 1.5)
            elif value.is_floating_point():
                value.normal_(0, 0.1)
    return net.to(dtype)


def ours(from_net, dtype=torch.float64):
    net = nets.torchvision_net(50, dropout=0.0, aux_dropout=0.0).to(dtype)
    load_weights(net, read(from_net.state_dict(), "torchvision"))
    return net


def pixels(dtype, n=2):
    small = torch.randint(0, 256, (n, 3, 28, 28), generator=torch.Generator().manual_seed(1))
    return interpolate(small.to(dtype), 224, mode="bilinear").round()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["fp64", "fp32"])
@pytest.mark.parametrize("transform_input", [False, True])
def test_eval_and_train_agree(dtype, transform_input):
    reference = theirs(dtype, transform_input=transform_input)
    net = ours(reference, dtype)
    images = pixels(dtype)
    scaled = images.double() / 255
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (MEAN, STD))
    theirs_in = ((scaled - mean) / std).to(dtype)
    ours_in = ((scaled - 0.5) / 0.5).to(dtype) if transform_input else theirs_in

    exact = dtype == torch.float64
    with torch.inference_mode():
        expected, got = reference.eval()(theirs_in), net.eval()(ours_in).logits
        bound = 1e-9 if exact else 1e-5 * expected.abs().max().item()
        assert (got - expected).abs().max().item() <= bound

        expected, (logits, aux) = reference.train()(theirs_in), net.train()(ours_in)
    pairs = [(logits, expected.logits), (aux["inception4a"], expected.aux_logits1)]
    pairs += [(aux["inception4d"], expected.aux_logits2)]
    for value, wanted in pairs:
        assert (value - wanted).abs().max().item() <= (1e-9 if exact else 1e-4)


def test_parameters():
    with torch.device("meta"):
        assert count(nets.torchvision_net()) == 13_004_888
        assert count(nets.torchvision_net(aux=False)) == 6_624_904


@pytest.mark.parametrize("size", [80, 97, 224])
def test_sizes_of_maps_with_the_smaller_pool4(build, size):
    net = build(image_size=size, stem="imagenet", pool4=2, width=0.125).eval()
    sizes = feature_sizes(size, "imagenet", pool4=2)
    assert net.forward_features(torch.zeros(1, 3, size, size)).shape[-1] == sizes["inception5b"]


def test_without_aux_heads_theirs_are_left_out():
    net = nets.torchvision_net(50, aux=False)
    left_out = load_weights(net, read(theirs(torch.float32).state_dict(), "torchvision"))
    assert left_out == [
        "aux.inception4a is left out, which this network has not",
        "aux.inception4d is left out, which this network has not",
    ]


def test_the_faithful_net_is_refused_and_left_as_it_was(build):
    net = build(50, image_size=224, norm="bn", aux="both")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match="nothing was loaded") as refusal:
        load_weights(net, read(theirs(torch.float32).state_dict(), "torchvision"))
    lines = str(refusal.value).splitlines()
    assert lines[1].startswith(
        "  of another shape (9): inception3a.conv5x5.conv.weight 32×16×3×3, here 32×16×5×5, "
    )
    assert (
        "  with other settings (1): pool4: MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, "
        "ceil_mode=True), here MaxPool2d(kernel_size=3, " in "\n".join(lines)
    )
    assert any("BatchNorm2d(eps=0.001), here BatchNorm2d(eps=1e-05)" in line for line in lines)
    assert lines[-1] == (
        "the network they fit: model=googlenet_torchvision preprocess=symmetric "
        "model.pretrained=torchvision"
    )
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_other_classes_keep_the_trunk():
    source = read(theirs(torch.float32).state_dict(), "torchvision")
    net = nets.torchvision_net(50)
    fresh = nets.torchvision_net(4)
    assert load_weights(net, source, num_classes=4) == ["new for 4 classes: aux, head"]
    for name, value in net.state_dict().items():
        wanted = (
            fresh.state_dict()[name] if name.startswith(("head", "aux")) else source.state[name]
        )
        assert torch.equal(value, wanted), name
