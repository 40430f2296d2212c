"""torchvision's GoogLeNet and ours with the same random weights."""

import pytest
import torch
import torchvision
from torch.nn.functional import interpolate

from deeper.models.geometry import feature_sizes
from deeper.models.pretrained.torchvision import renamed
from deeper.models.pretrained.weights import Weights, layer_settings, load_weights

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # of ImageNet, as torchvision has them


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


@pytest.fixture
def ours(network):
    """`ours(50)` is the network of torchvision for 50 classes, without dropout."""

    def made(classes, *words):
        dropouts = [f"model.aux.inception4{x}.dropout=0" for x in "ad"] if not words else []
        return network(
            "torchvision", classes, "model/init=he", "model.head.dropout=0", *dropouts, *words
        )

    return made


@pytest.fixture
def source(ours):
    """Weights of `theirs`, as read from a file."""

    def made(net):
        return Weights("theirs", renamed(net.state_dict()), layer_settings(ours(50)), "the words")

    return made


def pixels(dtype, n=2):
    small = torch.randint(0, 256, (n, 3, 28, 28), generator=torch.Generator().manual_seed(1))
    return interpolate(small.to(dtype), 224, mode="bilinear").round()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["fp64", "fp32"])
@pytest.mark.parametrize("transform_input", [False, True])
def test_eval_and_train_agree(ours, source, dtype, transform_input):
    reference = theirs(dtype, transform_input=transform_input)
    net = ours(50).to(dtype)
    load_weights(net, source(reference))
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


def test_parameters(network):
    def count(*words):
        with torch.device("meta"):
            return sum(p.numel() for p in network("torchvision", 1000, *words).parameters())

    assert count() == 13_004_888
    assert count("model/aux=none") == 6_624_904


@pytest.mark.parametrize("size", [80, 97, 224])
def test_sizes_of_maps_with_the_smaller_pool4(build, size):
    net = build(image_size=size, stem="imagenet", pool4=2, width=0.125).eval()
    sizes = feature_sizes(size, "imagenet", pool4=2)
    assert net.forward_features(torch.zeros(1, 3, size, size)).shape[-1] == sizes["inception5b"]


def test_without_aux_heads_theirs_are_left_out(ours, source):
    left_out = load_weights(ours(50, "model/aux=none"), source(theirs(torch.float32)))
    assert left_out == [
        "aux.inception4a is left out, which this network has not",
        "aux.inception4d is left out, which this network has not",
    ]


def test_the_faithful_net_is_refused_and_left_as_it_was(build, source):
    net = build(50, image_size=224, norm="bn", aux="both")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match="nothing was loaded") as refusal:
        load_weights(net, source(theirs(torch.float32)))
    lines = str(refusal.value).splitlines()
    assert lines[-2].startswith(
        "  different (80): inception3a.conv5x5.conv.weight 32×16×3×3, here 32×16×5×5, "
    )
    assert lines[-1] == "the network they fit: the words"
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_other_classes_keep_the_trunk(ours, source):
    weights = source(theirs(torch.float32))
    net, fresh = ours(50), ours(4)
    assert load_weights(net, weights, num_classes=4) == ["new for 4 classes: aux, head"]
    for name, value in net.state_dict().items():
        is_new = name.startswith(("head", "aux"))
        wanted = fresh.state_dict()[name] if is_new else weights.state[name]
        assert torch.equal(value, wanted), name


def test_somebody_elses_network_needs_a_way_to_new_classes():
    with pytest.raises(ValueError, match="Linear has no reset_classifier"):
        load_weights(torch.nn.Linear(1, 1), Weights("x", {}, {}, ""), num_classes=2)
