"""The training step from images in memory: forward, loss with auxiliary heads, backward, optimizer.

Ours begins with uint8 images, torchvision's with the float images that its users' loader makes.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch

from deeper.benchmarks import operators, reference
from deeper.benchmarks.limits import copying
from deeper.benchmarks.setting import Setting
from deeper.benchmarks.timing import Contest, Counts, Figure
from deeper.data.batch import Batch
from deeper.training.module import ImageClassifier

RUN, TUNED = "torchvision as run", "torchvision tuned"
LIMIT, BYTES = "convolutions alone", "its bytes copied"
OURS, LRN, SAME = "ours", "ours, lrn", "ours, torchvision's architecture"

ARCHITECTURE = (
    "model/block=reduced_3x3", "model/norm=bn_slim", "model/aux=adaptive", "model.pool4=2",
    "model.head.dropout=0.2",
)  # fmt: skip
"""Words that make ours torchvision's network; `model=googlenet_torchvision` would load weights too."""

FIGURES = (
    Figure("training step against torchvision as run", OURS, RUN, at_least=3.5),
    Figure("training step against torchvision tuned", OURS, TUNED, at_least=1.08),
    Figure("the same, on torchvision's architecture", SAME, TUNED, at_least=1.12),
    Figure("training step, fraction of the convolution-only limit", OURS, LIMIT, at_least=0.72),
    Figure("the lrn net against the bn net", LRN, OURS, at_least=0.97),
)


def contests(setting: Setting) -> Iterator[Contest | Counts]:
    batch = setting.batch()
    floats = reference.normalized(batch.images)
    as_run = reference.training_step(setting)
    tuned = reference.training_step(setting, tuned=True)
    tuned_floats = floats.contiguous(memory_format=torch.channels_last)
    ours = partial(training_step(setting.classifier()), batch)
    steps: dict[str, Callable[[], None]] = {
        RUN: partial(as_run, floats, batch.labels),
        TUNED: partial(tuned, tuned_floats, batch.labels),
        OURS: ours,
        LRN: partial(training_step(setting.classifier("model/norm=lrn")), batch),
        SAME: partial(training_step(setting.classifier(*ARCHITECTURE)), batch),
    }
    plain = ours
    if setting.device.type == "cpu":
        plain = partial(training_step(setting.classifier("kernels=false")), batch)
        steps["ours, kernels=false"] = plain
    if setting.compile:
        compiled = training_step(setting.classifier("compile=true"))
        steps["ours, compiled"] = partial(compiled, batch)
    recorder = operators.record(plain)  # the network's convolutions, none of them merged
    steps[LIMIT] = recorder.run_convolutions
    if setting.device.type == "cuda":  # a CPU's caches hold a part of these bytes
        steps[BYTES] = copying(recorder.bytes, setting.device)
    yield Contest(
        f"training step, {setting.size} px, batch {setting.batch_size}, {setting.precision.name}",
        {name: setting.repeated(step) for name, step in steps.items()},
        "images/s",
        setting.steps * setting.batch_size,
        baselines=[name for name in (RUN, TUNED, LIMIT, BYTES) if name in steps],
        figures=FIGURES,
        about={
            "convolution_gflop_an_image": recorder.operations / setting.batch_size / 1e9,
            "mb_moved_an_image": recorder.bytes / setting.batch_size / 1e6,
        },
    )
    del recorder, steps
    yield operators.shares("our training step by operator", ours)


def training_step(module: ImageClassifier) -> Callable[[Batch], None]:
    """What Lightning does for a batch."""
    optimizer = module.train().configure_optimizers()["optimizer"]

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        module.on_train_batch_start(batch, 0)
        with module.trainer.precision_plugin.forward_context():
            losses = module.training_step(batch, 0)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step
