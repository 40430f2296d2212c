"""Reads the ONNX zoo's GoogLeNet: BVLC's network with Caffe2's names of weights."""

from pathlib import Path

import torch
from torch import Tensor, nn

from deeper.models.pretrained.names import from_bvlc

LEAVES = {"_w_0": "weight", "_b_0": "bias"}
"""Caffe2's suffixes to the name of a layer in Caffe."""

BOUND = 1e-4
"""Largest difference of two float32 implementations, as a fraction of the largest logit."""


def read(path: Path) -> dict[str, Tensor]:
    """The stored weights. Whether the graph is ours, `require_same_logits` shows."""
    import onnx

    return from_bvlc(
        (tensor.name[:-4], LEAVES[tensor.name[-4:]], torch.tensor(onnx.numpy_helper.to_array(tensor)))
        for tensor in onnx.load(path).graph.initializer
        if tensor.name[-4:] in LEAVES
    )  # fmt: skip


@torch.inference_mode()
def require_same_logits(path: Path, net: nn.Module) -> None:
    """Run the graph and `net`, which has its weights, on an image of noise.

    Raises `ValueError` where the logits differ: the graph is another network's, whatever its names say.
    """
    import onnx
    import onnxruntime

    image = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 255 - 117
    try:
        model = onnx.load(path)
        logits = next(node.output[0] for node in model.graph.node if node.op_type == "Gemm")
        model.graph.output.append(onnx.ValueInfoProto(name=logits))  # before the graph's softmax
        session = onnxruntime.InferenceSession(model.SerializeToString())
        (found,) = session.run([logits], {session.get_inputs()[0].name: image.numpy()})
    except Exception as error:  # ONNX Runtime's errors have no class in common
        raise ValueError(f"{path}: ONNX Runtime cannot run its graph ({error!r})") from error
    expected = net(image).logits
    difference = float((torch.from_numpy(found) - expected).abs().max() / expected.abs().max())
    if not difference <= BOUND:
        raise ValueError(
            f"{path}: another graph than GoogLeNet's: its logits differ from those of the same weights "
            f"in model=googlenet_bvlc by {difference:.1e} of the largest one"
        )
