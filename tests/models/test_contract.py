"""Every head with every aux, norm, block and stem keeps one contract."""

from itertools import combinations, product

import parts
import pytest
import torch

STEMS = {"small": 32, "imagenet": 96}
AUX = {name: {*taps} for name, taps in parts.AUX.items()}
HEADS, BLOCKS, NORMS = [*parts.HEADS], [*parts.BLOCKS], [*parts.NORMS]
PAIRS = [*product(AUX, NORMS)]


def test_the_quick_quarter_has_every_three_parts_together():
    """Of the first four of each; others meet in part."""
    choices = [
        (head, block, *pair)
        for head, block in product(HEADS[:4], BLOCKS[:4])
        for pair in quarter(head, block)
    ]
    for three in combinations(range(4), 3):
        assert len({tuple(choice[i] for i in three) for choice in choices}) == 4**3


def quarter(head, block):
    """(aux, norm): over all heads and blocks, any three of the four parts meet in every way."""
    at = HEADS.index(head) ^ BLOCKS.index(block)
    return [(aux, NORMS[(at ^ i) % len(NORMS)]) for i, aux in enumerate(AUX)]


@pytest.mark.parametrize("chosen", ["quarter", pytest.param("all", marks=pytest.mark.slow)])
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("head", HEADS)
def test_every_combination(build, head, block, chosen):
    pairs = PAIRS if chosen == "all" else quarter(head, block)
    for (aux, norm), stem in product(pairs, STEMS):
        name = f"head={head} block={block} aux={aux} norm={norm} stem={stem}"
        size = STEMS[stem]
        net = build(
            image_size=size, stem=stem, head=head, aux=aux, norm=norm, block=block, width=0.125
        )
        images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))

        logits, answers = net.train()(images)
        assert logits.shape == (2, 7), name
        assert set(answers) == AUX[aux], name
        assert all(answer.shape == (2, 7) for answer in answers.values()), name

        (logits.sum() + 0.3 * sum(answer.sum() for answer in answers.values())).backward()
        for parameter, value in net.named_parameters():
            assert value.grad is not None, f"{name}: {parameter} has no part in the loss"
            assert value.grad.isfinite().all(), f"{name}: {parameter}"

        with torch.inference_mode():
            logits, answers = net.eval()(images)
            assert logits.shape == (2, 7), name
            assert answers == {}, name
            by_hand = net.forward_head(net.forward_features(images))
        torch.testing.assert_close(by_hand, logits, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("head", HEADS)
def test_reset_classifier_changes_every_answer(build, head):
    net = build(head=head, aux="both", width=0.125)
    net.reset_classifier(3)
    logits, answers = net.train()(torch.randn(2, 3, 32, 32))
    assert net.num_classes == 3
    assert {tuple(x.shape) for x in (logits, *answers.values())} == {(2, 3)}


@pytest.mark.parametrize("prepare", ["eval", "double"])
def test_reset_classifier_follows_the_net(build, prepare):
    net = getattr(build(aux="both", width=0.125), prepare)()
    net.reset_classifier(3)
    kinds = {(m.training, p.dtype) for m in net.modules() for p in m.parameters()}
    assert len(kinds) == 1, kinds


def test_refuses_an_unknown_stem(build):
    with pytest.raises(ValueError, match=r"^stem='Imagenet': choose from auto, imagenet, small$"):
        build(stem="Imagenet", width=0.125)


def test_what_each_option_refuses(build):
    with pytest.raises(ValueError, match=r"width=0: must be above 0"):
        build(width=0)
    with pytest.raises(ValueError, match=r"num_classes=0: must be at least 1"):
        build(0, width=0.125)
