"""Images in memory to logits: torchvision's network, ours in the forms torch has, ONNX Runtime on our export.

Ours begin with uint8 images, torchvision's with float images. Weights are random.
"""

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deeper.benchmarks import reference
from deeper.benchmarks.setting import Setting
from deeper.benchmarks.timing import Contest, Counts, Figure
from deeper.checkpoint import save_checkpoint
from deeper.export import metadata, onnx
from deeper.export.graph import Graph, folded
from deeper.inference.model import load
from deeper.models.deployed import Deployed

RUN, EAGER, FOLDED, RUNTIME = "torchvision as run", "ours", "ours, folded", "ONNX Runtime, ours"
FROZEN, EXPORTED, HALF = "ours, frozen", "ours, torch.export", "ours, folded, bf16"
COMPILED = "ours, compiled"


def contests(setting: Setting) -> Iterator[Contest | Counts]:
    images = setting.batch().images
    floats = reference.normalized(images)
    theirs = reference.network().to(setting.device).eval()
    graph = graph_of(setting)  # on the CPU, as export wants it
    program = graph.program.module().to(setting.device)
    eager = graph.trained.to(setting.device)
    fold = Deployed(eager.preprocess, folded(eager.net)).eval()
    networks: dict[str, Callable[[], Any]] = {
        RUN: lambda: theirs(floats),
        EAGER: lambda: eager(images),
        FOLDED: lambda: fold(images),
        FROZEN: partial(frozen(fold, images), images),
        EXPORTED: partial(program, images),
        HALF: partial(half_precision(fold), images),
    }
    if setting.compile:
        networks[COMPILED] = partial(torch.compile(fold), images)
    if setting.device.type == "cpu" and all(map(find_spec, onnx.PACKAGES)):
        networks[RUNTIME] = runtime(graph, images, setting.scratch)
    passes = {name: setting.repeated(inferring(network)) for name, network in networks.items()}
    in_torch = [name for name in networks if name not in (RUN, RUNTIME)]
    fp32 = [name for name in in_torch if name != HALF]
    yield Contest(
        f"inference, {setting.size} px, batch {setting.batch_size}, fp32 unless named",
        passes,
        "images/s",
        setting.steps * setting.batch_size,
        baselines=(RUN, *([RUNTIME] if RUNTIME in passes else [])),
        figures=[
            Figure("inference in fp32 against ONNX Runtime", fp32, RUNTIME, at_least=1),
            Figure("inference, best of ours in torch, against torchvision as run", in_torch, RUN, at_least=3),
        ],
    )  # fmt: skip
    with torch.inference_mode():
        exact, rough = fold(images).softmax(1), networks[HALF]().float().softmax(1)
    agreement = (exact.argmax(1) == rough.argmax(1)).double().mean().item()
    difference = (exact - rough).abs().max().item()
    row = {"against fp32": HALF, "same top-1 %": 100 * agreement, "max |Δ probability|": difference}
    yield Counts("bf16 inference, random weights on noise", [row])


def graph_of(setting: Setting) -> Graph:
    """As export has it of a checkpoint, here one of new weights."""
    module, path = setting.classifier(), setting.scratch / "new.ckpt"
    save_checkpoint({"state_dict": module.state_dict(), "deeper": module.checkpoint_metadata}, path)
    trained = load(path)
    return Graph(trained, metadata.describe(trained))


def inferring(network: Callable[[], Any]) -> Callable[[], Any]:
    return torch.inference_mode()(lambda: network())


def frozen(net: nn.Module, images: Tensor) -> Callable[[Tensor], Tensor]:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and the only one that freezes
        traced: Any = torch.jit.freeze(torch.jit.trace(net, images))
    return traced  # type: ignore[no-any-return]


def half_precision(fold: Deployed) -> nn.Module:
    """Weights and activations in bfloat16; pixels are normalised in float32."""

    class ToHalf(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.bfloat16()

    preprocess = nn.Sequential(fold.preprocess, ToHalf())
    return Deployed(preprocess, folded(fold.net).bfloat16()).eval()


def runtime(graph: Graph, images: Tensor, scratch: Path) -> Callable[[], Any]:
    """ONNX Runtime with as many threads as torch."""
    import onnxruntime

    (scratch / onnx.FILE).write_bytes(onnx.encode(graph))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        scratch / onnx.FILE, options, providers=["CPUExecutionProvider"]
    )
    pixels = images.contiguous().numpy()
    return lambda: session.run(["logits"], {"images": pixels})
