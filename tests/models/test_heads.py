"""What an ablation of the head changes."""

import torch
from torch import nn

from deeper.models.heads import AvgPoolHead, NINHead
from deeper.models.norm import NoNorm


def test_the_relu_is_all_that_nin_changes():
    """With the same weights and dropout, NINHead without its ReLU gives AvgPoolHead's logits in training."""
    options = {"width": 1.0, "norm": NoNorm(), "dropout": 0.4}
    ours, nin = AvgPoolHead(64, 7, 5, **options), NINHead(64, 7, 5, **options)
    with torch.no_grad():
        nin.classifier.weight.copy_(ours.classifier.weight[:, :, None, None])
        nin.classifier.bias.copy_(ours.classifier.bias)
    features = torch.rand(8, 64, 7, 7)
    logits = {}
    for name, head in {"avgpool": ours, "nin": nin}.items():
        torch.manual_seed(0)  # the same units are dropped
        logits[name] = head.train()(features)
    assert (logits["nin"] >= 0).all()
    assert not torch.allclose(logits["nin"], logits["avgpool"])
    nin.act = nn.Identity()
    torch.manual_seed(0)
    torch.testing.assert_close(nin(features), logits["avgpool"])
