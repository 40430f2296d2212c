"""How the cost of an image grows with the work: resolution, batch, classes, images, workers, processes.

Each table has one of them, the others as the command says. Passes differ in their work, so that the
times are those of one image.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from time import perf_counter

from deeper.benchmarks import loading, training
from deeper.benchmarks.setting import CLASSES, Setting
from deeper.benchmarks.step import training_step
from deeper.benchmarks.timing import Contest, Counts, Pass
from deeper.data.splits import limited


def contests(setting: Setting) -> Iterator[Contest | Counts]:
    size, batch = setting.size, setting.batch_size
    sizes = [replace(setting, size=s) for s in (size, 3 * size // 2, 2 * size)]
    batches = [replace(setting, batch_size=n) for n in (max(batch // 4, 1), batch, 2 * batch)]
    classes = (len(CLASSES), 4 * len(CLASSES), 16 * len(CLASSES))
    yield _contest("step", {f"{s.size} px": _step(s) for s in sizes})
    yield _contest("step", {f"{s.batch_size} a batch": _step(s) for s in batches})
    yield _contest("step", {f"{n:,} classes": _step(setting, n) for n in classes})

    photos = loading.photos(setting).load().train
    n = min(setting.images or loading.IMAGES, 4 * len(photos))
    sets = {f"{k:,} photos": k for k in (len(photos) // 16, len(photos) // 4, len(photos)) if k}

    def load(setting: Setting, workers: int, among: int) -> Pass:
        order = loading.in_turn(among, n)
        return _each(loading.our_pass(limited(photos, among), order, setting, workers), n)

    everything = len(photos)
    yield _contest("loader", {f"{s.size} px": load(s, 0, everything) for s in sizes}, threads=1)
    yield _contest("loader", {name: load(setting, 0, k) for name, k in sets.items()}, threads=1)
    workers = {
        f"{w} workers": load(setting, w, everything) for w in sorted({0, 1, setting.workers})
    }
    yield _contest("loader", workers, threads=1)

    if setting.device.type != "cpu":
        return
    rates = {p: training.rate(setting, "trainer=ddp_cpu", f"trainer.devices={p}") for p in (1, 2)}
    rows = [
        {"processes": p, "images/s": rate, "times one": rate / rates[1]}
        for p, rate in rates.items()
    ]
    yield Counts("training of the default, all processes together", rows)


def _contest(what: str, passes: dict[str, Pass], threads: int | None = None) -> Contest:
    baseline, *_ = passes
    return Contest(
        f"{what} by {baseline.split()[-1]}", passes, "ms an image",
        baselines=(baseline,), threads=threads,
    )  # fmt: skip


def _step(setting: Setting, classes: int = len(CLASSES)) -> Pass:
    step = training_step(setting.classifier(classes=classes))
    return _each(
        setting.repeated(partial(step, setting.batch())), setting.steps * setting.batch_size
    )


def _each(run: Pass, images: int) -> Pass:
    """A pass that answers the seconds of one image."""

    def timed() -> float:
        start = perf_counter()
        run()
        return (perf_counter() - start) / images

    return timed
