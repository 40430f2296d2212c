"""Names of the parts of a network, as the configs name them: the contract test runs them all."""

from functools import partial

import torch

from deeper.models import heads, inception, init, norm
from deeper.models.googlenet import GoogLeNet

HEADS = {
    "avgpool": heads.AvgPoolHead,
    "fc": heads.FCHead,
    "fc4096": partial(heads.FCHead, hidden=(4096, 4096)),
    "nin": heads.NINHead,
}
AUX = {
    "none": [],
    "4a": ["inception4a"],
    "4d": ["inception4d"],
    "both": ["inception4a", "inception4d"],
}
NORMS = {
    "bn": norm.BatchNorm,
    "lrn": norm.LRN,
    "lrn_google": partial(norm.LRN, size=11, alpha=1.1e-3, beta=0.5, k=2.0),
    "none": norm.NoNorm,
}
BLOCKS = {
    "reduced": inception.Reduced,
    "naive": inception.Naive,
    "naive_proj": inception.NaiveProjected,
    "no_pool": inception.NoPool,
}


BVLC = init.BVLC()


def build_googlenet(
    num_classes=7, *, image_size=32, head="avgpool", aux="none", norm="lrn", block="reduced",
    init=BVLC, device="cpu", **options,
):  # fmt: skip
    """The paper's network at 32 px unless told otherwise; `meta` has shapes but no values or memory."""
    with torch.device(device):
        return GoogLeNet(
            num_classes,
            image_size=image_size,
            head=HEADS[head],
            aux=dict.fromkeys(AUX.get(aux, [aux]), heads.AuxHead),
            norm=NORMS[norm](),
            block=BLOCKS[block],
            init=init,
            **options,
        )
