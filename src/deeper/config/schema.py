"""Schemas of the entry points: their top-level keys, with types and defaults.

Hydra refuses a misspelt key or a wrong type at composition, with the name of the file. Keys below a
group are checked against the class that the group builds (see `signatures`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from enum import StrEnum
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from deeper.config.errors import suggestion
from deeper.config.translation import translation

Device = StrEnum("Device", "auto cpu cuda")
Direction = StrEnum("Direction", "maximize minimize")
ExportFormat = StrEnum("ExportFormat", "all safetensors onnx torch_export")
Fusion = StrEnum("Fusion", "mean max")
NonFinite = StrEnum("NonFinite", "stop skip")
NumberFormat = StrEnum("NumberFormat", "auto fp32 tf32 bf16 fp16")
OnBad = StrEnum("OnBad", "strict quarantine")
PredictionFormat = StrEnum("PredictionFormat", "table tsv json html")
Preflight = StrEnum("Preflight", "auto on off only")
Effect = StrEnum("Effect", "lower higher none")
Split = StrEnum("Split", "test val")
Weights = StrEnum("Weights", "averaged live")


@dataclass
class Command:
    """What every entry point has."""

    task_name: str = MISSING
    paths: Any = MISSING
    trust: list[str] = field(default_factory=list)
    """Packages of yours that a `_target_` may name. It counts on the command line alone."""


@dataclass
class RecipeRow:
    """Length, batch size and learning rate of a recipe on data sets of one size."""

    epochs: int = MISSING
    batch_size: int = MISSING
    lr: float = MISSING


@dataclass
class Claim:
    """What is said of an experiment's accuracy against its recipe's, before its runs."""

    direction: Effect = MISSING
    """lower or higher than the recipe's; none: no major effect."""
    size: float | None = None
    """The difference that is claimed, a fraction of the images."""
    margin: float | None = None
    """For none: the largest difference that is no major effect."""
    says: str = ""
    """In its author's words."""
    metric: str = "test/top1"


@dataclass
class Sweep:
    """Of a multirun; what it spans is a choice of the group `sweep`."""

    parallel: Any = "auto"
    """Jobs at a time: auto is one a GPU, or one on a CPU."""
    strict: bool = False
    """Refuse jobs that other code than today's has finished."""


@dataclass
class Train(Command):
    task_name: str = "train"
    name: str = "${run_name:}"
    """Name of the run in folders and dashboards; recipe, experiments and chosen parts unless given."""
    seed: int = 0
    """Seed of dropout and of what else is random on the device."""
    init_seed: int = "${seed}"  # type: ignore[assignment]
    """Seed of the initial weights."""
    data_seed: int = "${seed}"  # type: ignore[assignment]
    """Seed of the order of images and of their augmentation."""
    epochs: int = MISSING
    """Passes over the training images."""
    batch_size: int = MISSING
    """Images of one optimizer step, over all processes and accumulated batches."""
    lr: float = MISSING
    """Peak learning rate."""
    scales: dict[str, RecipeRow] = field(default_factory=dict)
    """The recipe's epochs, batch_size and lr for each `data.scale`."""
    requires: dict[str, list[str]] = field(default_factory=dict)
    """What an experiment needs of its recipe: group → options, one of which must be chosen."""
    sweep: Sweep = field(default_factory=Sweep)
    claim: Claim | None = None
    """Of an experiment; it changes nothing of the training."""
    resume: str | None = None
    """A run to continue: its directory, latest, or auto, the one of the same config, if there is one."""
    reproduce: str | None = None
    """A run directory or run.json: its config again, and its numbers compared."""
    preflight: Preflight = Preflight.auto
    """Measure speed, memory and disk before a training: auto (of above an hour), on, off, only."""
    nonfinite: NonFinite = NonFinite.stop
    """What a gradient that is not finite does: stop the training, or skip the step."""
    test: bool = True
    """Read the test set once at the end; a search sets it false."""
    objective: str = "val/top1"
    """The metric that chooses the best checkpoint, and that a search optimises."""
    direction: Direction = Direction.maximize
    compile: bool = False
    """torch.compile in place: checkpoints keep their keys."""
    channels_last: bool = True
    """Memory format of images and convolutions."""
    kernels: bool = True
    """On a CPU, train with the faster layers of `deeper.models.cpu` if a C++ compiler is found."""
    precision: NumberFormat = NumberFormat.auto
    """See `deeper.training.precision`."""
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
    trainer: Any = MISSING
    metrics: dict[str, Any] = field(default_factory=dict)
    """Name → torchmetrics Metric, logged as val/<name> and test/<name>."""
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)


@dataclass
class DataChange:
    """Data settings that an evaluation may change; null keeps the checkpoint's value."""

    root: str | None = None
    workers: Any = None
    eval_batch_size: int | None = None
    limit: int | None = None
    stage_to: str | None = None


@dataclass
class OneNetwork(Command):
    """Which trained network a command uses."""

    run: str | None = None
    """A run directory: its best checkpoint is used."""
    ckpt: str | None = None
    """A checkpoint file."""
    weights: Weights = Weights.averaged
    """averaged (live weights where the training averaged none) or live."""


@dataclass
class Eval(OneNetwork):
    task_name: str = "eval"
    name: str = "eval"
    files: list[str] = field(default_factory=list)
    """Checkpoint files and run directories; their mean probabilities are evaluated."""
    protocol: Any = None
    """Crops; null: those of the (first) checkpoint's validation."""
    protocols: list[str] = field(default_factory=list)
    """Names of several protocols, in place of `protocol`: a row of the paper's Table 3 each."""
    fusion: Fusion = Fusion.mean
    """How the probabilities of an image's crops are combined: mean (the paper's) or max."""
    real: str | None = None
    """real.json of Beyer et al. (2020): new labels of ImageNet's validation images."""
    split: Split = Split.test
    """The images that are evaluated; val are those that chose the checkpoint."""
    epochs: int = 1
    data: DataChange = field(default_factory=DataChange)
    precision: NumberFormat = NumberFormat.auto
    kernels: bool = True
    """On a CPU, evaluate with the faster layers of `deeper.models.cpu` if a C++ compiler is found."""
    trainer: Any = MISSING


@dataclass
class Predict(OneNetwork):
    task_name: str = "predict"
    files: list[str] = field(default_factory=list)
    """Files, folders, globs, or - for a list on standard input."""
    zero: bool = False
    """Names on standard input end with NUL, as `find -print0` writes them."""
    top: int = 5
    format: PredictionFormat | None = None
    """null: by the suffix of `out`, else table."""
    out: str | None = None
    """A file, written atomically, in place of standard output."""
    batch_size: int = 32
    device: str = "auto"
    """auto (CUDA where there is one), cpu, cuda or cuda:<n>."""
    precision: NumberFormat = NumberFormat.auto


@dataclass
class Prepare(Command):
    task_name: str = "prepare"
    pack: bool = False
    """Write packed images too."""
    out: str | None = None
    """Folder of the packed images."""
    size: Any = 256
    """Shorter side of packed images in pixels, or original: the bytes of the files."""
    quality: int = 90
    """JPEG quality of resized images."""
    workers: Any = "auto"
    on_bad: OnBad = OnBad.strict
    data: Any = MISSING


@dataclass
class BenchData:
    root: str | None = None
    """A folder with photos in train/<class>/*, which some benchmarks need."""


@dataclass
class Bench(Command):
    task_name: str = "bench"
    what: Any = "all"
    """One of `check.BENCHMARKS`, a list of them, or all that need no more than is given."""
    device: Device = Device.auto
    precision: NumberFormat = NumberFormat.auto
    batch_size: int | None = None
    """null: 32 on a CPU, 256 on a GPU."""
    size: int = 224
    """Of images in pixels."""
    compile: bool = False
    """Measure torch.compile too; it compiles for minutes."""
    images: int | None = None
    """Images of a pass of loading; null: its own number."""
    rounds: int = 7
    workers: int = 2
    """Worker processes of the loader; zero is measured too."""
    results: str = "${paths.logs}/bench"
    data: BenchData = field(default_factory=BenchData)


@dataclass
class ReportData:
    root: str | None = None
    """The folder of the runs' images, for pictures on the page."""


@dataclass
class Report(Command):
    task_name: str = "report"
    files: list[str] = field(default_factory=list)
    """Run directories, multiruns, folders with runs; `plan` before them asks for a plan."""
    metric: str = "test/top1"
    out: str | None = None
    """A folder for table.md, .tex, .csv, .json and index.html; null: logs/report/NAME."""
    keep: str | None = None
    """A folder that gets what reports need of the runs: results, settings, curves, outcomes of images."""
    speed: bool = False
    """Measure a training step of each arm on this machine, in turns; nothing else should run."""
    mistakes: int = 0
    """Test images on the page that the baseline was most wrong about; with `data.root` as pictures."""
    data: ReportData = field(default_factory=ReportData)


@dataclass
class Dashboard(Command):
    task_name: str = "dashboard"
    files: list[str] = field(default_factory=list)
    """Multiruns, run directories, folders with runs."""
    metric: str = "test/top1"
    """Of the table."""
    project: str = "deeper"
    """The W&B project that has the runs."""
    entity: str | None = None
    """User or team; null: the key's default."""
    name: str | None = None
    """Title of workspace and report; null: the folder's name."""
    workspace: str | None = None
    """URL of an earlier workspace, whose content is replaced."""
    report: str | None = None
    """URL of an earlier report, whose content is replaced."""


@dataclass
class Runs(Command):
    task_name: str = "runs"
    files: list[str] = field(default_factory=list)
    """ls, show, diff, send or clean, and the runs that it is about."""
    logger: dict[str, Any] = field(default_factory=dict)
    """Where `send` writes what a run has logged."""
    yes: bool = False
    """Remove what `clean` lists."""


@dataclass
class Export(OneNetwork):
    task_name: str = "export"
    format: ExportFormat = ExportFormat.all
    out: str | None = None
    """A folder; null: export/ in the run directory."""
    overwrite: bool = False
    bound: float = 1e-5
    """Largest difference from the network as trained, as a fraction of the largest logit."""


@dataclass
class Convert(Train):
    task_name: str = "convert"
    out: str = MISSING
    """The checkpoint to write, a .ckpt file."""


def unknown_keys(cfg: DictConfig) -> Iterator[str]:
    """A line for every top-level key that `+key=value` added to a schema: nothing would read it."""
    kind = OmegaConf.get_type(cfg)
    known = [f.name for f in fields(kind)] if is_dataclass(kind) else [*cfg]
    for key in map(str, cfg):
        if key not in known:
            yield f"{key}: no such key{translation(key) or suggestion(key, known)}"


def register_schemas() -> None:
    """Make the schemas known to Hydra, as `schema_train` and so on."""
    for kind in (Train, Eval, Predict, Prepare, Report, Dashboard, Runs, Bench, Export, Convert):
        name = f"schema_{kind.__name__.lower()}"
        ConfigStore.instance().store(name=name, node=kind, provider="deeper")
