"""From photos to training steps: torchvision's pipeline and network as run, our packed loader and step."""

from collections.abc import Iterator
from pathlib import Path

from deeper.benchmarks import loading, reference
from deeper.benchmarks.setting import Setting
from deeper.benchmarks.step import OURS, RUN, training_step
from deeper.benchmarks.timing import Contest, Figure
from deeper.data.batch import Batch

BATCHES = 6
"""Of a pass. The first one waits for its images, as it does in an epoch."""


def contests(setting: Setting) -> Iterator[Contest]:
    source = loading.photos(setting)
    images = BATCHES * setting.batch_size
    small = loading.pack(source, setting.scratch)
    as_run, module = reference.training_step(setting), setting.classifier()
    theirs = reference.loader(
        Path(source.root) / "train", loading.in_turn(len(small), images), setting.size,
        setting.batch_size, setting.workers,
    )  # fmt: skip
    ours = loading.our_loader(small, loading.in_turn(len(small), images), setting, setting.workers)

    def torchvision_epoch() -> None:
        for floats, labels in theirs:
            as_run(floats.to(setting.device), labels.to(setting.device))

    def our_epoch() -> None:
        for batch in ours:
            step(Batch(*(tensor.to(setting.device) for tensor in batch)))

    step = training_step(module)
    yield Contest(
        f"photos to steps, {images} images, {setting.workers} workers",
        {RUN: torchvision_epoch, OURS: our_epoch},
        "images/s", images, baselines=(RUN,),
        figures=[Figure("end to end from packed photos against torchvision's", OURS, RUN, at_least=3.3)],
    )  # fmt: skip
