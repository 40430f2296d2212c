"""Images in memory to logits: torchvision's network, ours in the forms torch has, ONNX Runtime on our export.

Ours begin with uint8 images, torchvision's with float images. Weights are random.
"""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deeper.benchmarks import reference
from deeper.benchmarks.setting import Setting
from deeper.benchmarks.timing import Contest, Counts, Figure
from deeper.checkpoint import save_checkpoint
from deeper.export import onnx
from deeper.export.graph import Graph, folded
from deeper.inference.model import load
from deeper.models.deployed import Deployed
from deeper.runs import build

RUN, RUNTIME, HALF = "torchvision as run", "ONNX Runtime, ours", "ours, folded, bf16"


def contests(setting: Setting) -> Iterator[Contest | Counts]:
    images = setting.batch().images
    floats = reference.normalized(images)
    theirs = reference.network().to(setting.device).eval()
    graph = new_graph(setting)  # on the CPU, as export wants it
    eager = graph.trained.to(setting.device)
    fold = Deployed(eager.preprocess, folded(eager.net)).eval()
    networks: dict[str, Callable[[], Any]] = {
        RUN: lambda: theirs(floats),
        "ours": lambda: eager(images),
        "ours, folded": lambda: fold(images),
    }
    if setting.has_bf16:
        half = folded(eager.net).bfloat16()
        build.use_kernels(setting.config(), half)
        networks[HALF] = lambda: half(fold.preprocess(images).bfloat16()).logits
    if setting.device.type == "cpu":
        kernels = copy.deepcopy(fold)
        build.use_kernels(setting.config(), kernels)
        networks["ours, folded, kernels"] = partial(kernels, images)
        # An exported graph holds tensors on the device of its export.
        networks["ours, torch.export"] = partial(graph.program.module(), images)
    if setting.compile:
        networks["ours, compiled"] = partial(torch.compile(fold), images)
    in_torch = [name for name in networks if name != RUN]
    fp32 = [name for name in in_torch if name != HALF]
    if setting.device.type == "cpu" and all(map(find_spec, onnx.PACKAGES)):
        networks[RUNTIME] = onnx_runtime(graph, images, setting.scratch)
    passes = {n: setting.repeated(torch.inference_mode()(net)) for n, net in networks.items()}
    yield Contest(
        f"inference, {setting.size} px, batch {setting.batch_size}, fp32 unless named",
        passes,
        "images/s",
        setting.steps * setting.batch_size,
        baselines=[name for name in (RUN, RUNTIME) if name in passes],
        figures=[
            Figure("inference in fp32 against ONNX Runtime", fp32, RUNTIME, at_least=1),
            Figure("inference against torchvision as run", in_torch, RUN, at_least=3),
        ],
    )
    if not setting.has_bf16:
        return
    with torch.inference_mode():
        exact, rough = fold(images).softmax(1), networks[HALF]().float().softmax(1)
    row = {
        "against fp32": HALF,
        "same top-1 %": 100 * (exact.argmax(1) == rough.argmax(1)).double().mean().item(),
        "max |Δ probability|": (exact - rough).abs().max().item(),
    }
    yield Counts("bf16 inference, random weights on noise", [row])


def new_graph(setting: Setting) -> Graph:
    """As export has it of a checkpoint, here one of new weights."""
    module, path = setting.classifier(), setting.scratch / "new.ckpt"
    save_checkpoint({"state_dict": module.state_dict(), "deeper": module.checkpoint_metadata}, path)
    return Graph(load(path))


def onnx_runtime(graph: Graph, images: Tensor, scratch: Path) -> Callable[[], Any]:
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
