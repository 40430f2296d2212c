"""What an ablation of the head changes."""

import torch
from torch import nn

from deeper.models.heads import AvgPoolHead, Features, NINHead
from deeper.models.norm import NoNorm


def test_the_relu_is_all_that_nin_changes():
    """With the same weights and dropout, NINHead without its ReLU gives AvgPoolHead's logits in training."""
    maps = Features(channels=64, size=7, width=1.0, norm=NoNorm())
    ours, nin = AvgPoolHead(maps, 5), NINHead(maps, 5)
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
