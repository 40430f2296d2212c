"""Root schemas: the keys that every file may set at top level, with their types.

A typo or a wrong type in one of them dies at composition, with the name of the file. What stands
below a group belongs to the class that it builds (see `signatures`).
"""

import difflib
import re
from dataclasses import dataclass, field, fields, is_dataclass
from enum import StrEnum
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf


@dataclass
class Scale:
    """How long and how fast a recipe trains on a data set of one size."""

    epochs: int = MISSING
    batch_size: int = MISSING
    lr: float = MISSING


class Direction(StrEnum):
    maximize = "maximize"
    minimize = "minimize"


@dataclass
class Train:
    task_name: str = "train"
    name: str = "${run_name:}"
    """Of the run, for folders and dashboards; recipe and experiments unless given."""
    seed: int = 0
    """Dropout and device-side randomness."""
    init_seed: int = "${seed}"  # type: ignore[assignment]
    """Initial weights."""
    data_seed: int = "${seed}"  # type: ignore[assignment]
    """Order and augmentation."""
    epochs: int = MISSING
    scales: dict[str, Scale] = field(default_factory=dict)
    """The recipe's row for each `data.scale`."""
    requires: dict[str, list[str]] = field(default_factory=dict)
    """What an experiment needs of its recipe: group → options, one of which must be chosen."""
    resume: str | None = None
    """A run directory to go on with."""
    test: bool = True
    """Read the test set once at the end; a search sets it false."""
    objective: str = "val/top1"
    direction: Direction = Direction.maximize
    compile: bool = False
    channels_last: bool = True
    paths: Any = MISSING
    data: Any = MISSING
    augment: Any = MISSING
    mix: Any = MISSING
    preprocess: Any = MISSING
    protocol: Any = MISSING
    model: Any = MISSING
    loss: Any = MISSING
    optimizer: Any = MISSING
    scheduler: Any = MISSING
    averaging: Any = MISSING
    precision: Any = MISSING
    trainer: Any = MISSING
    metrics: dict[str, Any] = field(default_factory=dict)
    """Metrics of validation and test besides accuracy, by name."""
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)


class Weights(StrEnum):
    averaged = "averaged"
    live = "live"


class Split(StrEnum):
    test = "test"
    val = "val"


class Fusion(StrEnum):
    mean = "mean"
    max = "max"


@dataclass
class DataChange:
    """What may differ from the training's data; null keeps what the checkpoint says."""

    root: str | None = None
    workers: Any = None
    eval_batch_size: int | None = None
    limit: int | None = None
    stage_to: str | None = None


@dataclass
class OneNetwork:
    """A trained network, for what is done with one."""

    run: str | None = None
    """A run directory: its best checkpoint is meant."""
    ckpt: str | None = None
    """A checkpoint file."""
    weights: Weights = Weights.averaged
    """averaged (live where nothing was averaged) or live."""


@dataclass
class Eval(OneNetwork):
    task_name: str = "eval"
    name: str = "eval"
    files: list[str] = field(default_factory=list)
    """Checkpoint files and run directories: the mean of their probabilities is evaluated."""
    protocol: Any = None
    """Crops; null is what the (first) checkpoint was validated with."""
    protocols: list[str] = field(default_factory=list)
    """Several by name, in place of `protocol`: a row of the paper's table each."""
    fusion: Fusion = Fusion.mean
    """Of the probabilities of an image's crops: mean (the paper's) or max (its inferior alternative)."""
    real: str | None = None
    """real.json of Beyer et al. (2020): ImageNet's validation images labelled anew."""
    split: Split = Split.test
    epochs: int = 1
    data: DataChange = field(default_factory=DataChange)
    paths: Any = MISSING
    precision: Any = MISSING
    trainer: Any = MISSING


class Form(StrEnum):
    table = "table"
    tsv = "tsv"
    json = "json"
    html = "html"


@dataclass
class Predict(OneNetwork):
    task_name: str = "predict"
    files: list[str] = field(default_factory=list)
    """Plain words of the command line: files, folders, globs, or - for a list on standard input."""
    zero: bool = False
    """Names on standard input end with NUL, as `find -print0` writes them, not with a newline."""
    top: int = 5
    format: Form | None = None
    """As the name of `out` ends, else table."""
    out: str | None = None
    """A file to write to, whole or not at all, in place of standard output."""
    batch_size: int = 32
    device: str = "auto"
    """auto (CUDA where there is one), cpu, cuda or cuda:<n>."""
    paths: Any = MISSING
    precision: Any = MISSING


class OnBad(StrEnum):
    strict = "strict"
    quarantine = "quarantine"


@dataclass
class Prepare:
    task_name: str = "prepare"
    pack: bool = False
    """Write the packed form too."""
    out: str = MISSING
    """The folder of the packed form."""
    size: Any = 256
    """Pixels of the shorter side when packed, or original: the images' own bytes."""
    quality: int = 90
    """Of JPEG, where an image is made smaller."""
    workers: Any = "auto"
    on_bad: OnBad = OnBad.strict
    data: Any = MISSING
    paths: Any = MISSING


class Benchmark(StrEnum):
    evaluation = "evaluation"
    loading = "loading"


@dataclass
class BenchData:
    root: str = MISSING
    """Photos in train/<class>/*."""


@dataclass
class Bench:
    task_name: str = "bench"
    what: Benchmark = Benchmark.loading
    """A module of deeper.benchmarks."""
    images: int | None = None
    """In each round; the benchmark's own number unless given."""
    rounds: int = 7
    workers: int = 2
    """Of the loader's processes, besides none."""
    results: str = "${project:}/benchmarks/results"
    data: BenchData = field(default_factory=BenchData)
    paths: Any = MISSING


class Format(StrEnum):
    all = "all"
    safetensors = "safetensors"
    onnx = "onnx"
    torch_export = "torch_export"


@dataclass
class Export(OneNetwork):
    task_name: str = "export"
    format: Format = Format.all
    out: str | None = None
    """A folder; export/ in the run directory unless given."""
    overwrite: bool = False
    bound: float = 1e-5
    """Share of the largest logit by which a file may differ from the network as trained."""
    rounds: int = 5
    """Of timing."""
    paths: Any = MISSING


def strangers(cfg: DictConfig) -> list[str]:
    """Top-level keys of no schema to which no value refers, a line each: `+key=value` adds one, and
    nothing would read it.
    """
    kind = OmegaConf.get_type(cfg)
    known = [f.name for f in fields(kind)] if is_dataclass(kind) else list(cfg)
    text = OmegaConf.to_yaml(cfg)
    lines = []
    for key in map(str, cfg):
        if key not in known and not re.search(rf"\$\{{{re.escape(key)}[.}}\[]", text):
            close = difflib.get_close_matches(key, known, 1)
            advice = f"did you mean {close[0]!r}?" if close else "--help lists what there is"
            lines.append(f"{key}: no such key; {advice}")
    return lines


def register() -> None:
    store = ConfigStore.instance()
    store.store(name="schema_train", node=Train, provider="deeper")
    store.store(name="schema_eval", node=Eval, provider="deeper")
    store.store(name="schema_predict", node=Predict, provider="deeper")
    store.store(name="schema_prepare", node=Prepare, provider="deeper")
    store.store(name="schema_bench", node=Bench, provider="deeper")
    store.store(name="schema_export", node=Export, provider="deeper")
