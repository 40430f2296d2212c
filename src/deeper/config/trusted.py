"""Which names a `_target_` may carry. A list of names, not of prefixes: torch.load is none of them.

Your own packages are added in a `trusted.yaml` beside your config files:

    packages: [my_networks]
    targets: [torch.optim.NAdam]
"""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

DEEPER = """
    augment.color.Photometric augment.crops.AreaAspectCrop augment.crops.FixedCrop
    augment.crops.PaddedCrop augment.flip.RandomFlip augment.mix.Mix
    callbacks.averaging.Averaging callbacks.banner.Banner callbacks.checkpoint.Checkpoint
    callbacks.meter.Meter callbacks.progress.ProgressBar
    data.datamodule.ImageData data.sources.download.CIFAR10 data.sources.download.Imagenette data.sources.folder.Folder
    data.sources.imagenet.ImageNet
    data.sources.synthetic.Synthetic
    evaluation.protocol.Paper144 evaluation.protocol.Single evaluation.protocol.Ten
    loggers.jsonl.MetricsTable loggers.wandb.wandb
    models.googlenet.GoogLeNet models.timm.timm_network
    models.heads.AuxHead models.heads.AvgPoolHead models.heads.FCHead models.heads.NINHead
    models.inception.Naive models.inception.NaiveProjected models.inception.NoPool
    models.inception.Reduced
    models.init.BVLC models.init.Gaussian models.init.He models.init.TruncatedNormal
    models.norm.BatchNorm models.norm.LRN models.norm.NoNorm models.preprocess.Preprocess
    training.loss.BinaryCrossEntropy training.loss.CrossEntropy
    training.optimizers.adamw training.optimizers.rmsprop training.optimizers.sgd
    training.precision.Precision
    training.schedules.constant training.schedules.cosine training.schedules.onecycle
    training.schedules.paper training.schedules.poly
"""
LIGHTNING = """
    Trainer
    pytorch.callbacks.DeviceStatsMonitor pytorch.callbacks.EarlyStopping
    pytorch.callbacks.LearningRateMonitor pytorch.callbacks.Timer
    pytorch.loggers.CSVLogger pytorch.loggers.TensorBoardLogger
    pytorch.profilers.AdvancedProfiler pytorch.profilers.PyTorchProfiler
    pytorch.profilers.SimpleProfiler
"""
TRANSFORMS = """
    AugMix AutoAugment CenterCrop ColorJitter ElasticTransform GaussianBlur GaussianNoise Grayscale
    JPEG Pad RandAugment RandomAdjustSharpness RandomAffine RandomAutocontrast
    RandomChannelPermutation RandomCrop RandomEqualize RandomErasing RandomGrayscale
    RandomHorizontalFlip RandomInvert RandomPerspective RandomPhotometricDistort RandomPosterize
    RandomResizedCrop RandomRotation RandomSolarize RandomVerticalFlip Resize TrivialAugmentWide
"""
NAMES = frozenset(
    f"{package}.{name}"
    for package, names in [
        ("deeper", DEEPER),
        ("lightning", LIGHTNING),
        ("torchvision.transforms.v2", TRANSFORMS),
    ]
    for name in names.split()
)


def refused(config: Any) -> list[str]:
    """A line for every `_target_` in a plain container that is not trusted."""
    packages, names = _own()
    return [
        f"{key or 'config'}: _target_ {node['_target_']!r} is not trusted; if you know what it does, "
        f"add it to `targets:` (or its package to `packages:`) in configs/trusted.yaml"
        for key, node in nodes(config)
        if node["_target_"] not in names and not _inside(str(node["_target_"]), packages)
    ]


def nodes(config: Any, key: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping with a `_target_` in a plain container, outer ones first, with its key."""
    if isinstance(config, Mapping):
        if "_target_" in config:
            yield key, config
        for name, child in config.items():
            yield from nodes(child, f"{key}.{name}" if key else str(name))
    elif isinstance(config, list):
        for place, child in enumerate(config):
            yield from nodes(child, f"{key}[{place}]")


def _inside(target: str, packages: frozenset[str]) -> bool:
    """Of a trusted package, and not by way of a module that the package merely imports."""
    return target.partition(".")[0] in packages and not _borrowed(target)


def _borrowed(target: str) -> bool:
    """Whether `deeper.x.os.system` reaches through an import into somebody else's code."""
    from hydra.utils import get_object

    try:
        module_name = getattr(get_object(target), "__module__", None) or ""
    except Exception:
        return False  # it cannot be imported, which the signatures' check says better
    return str(module_name).partition(".")[0] != target.partition(".")[0]


@functools.cache
def _own() -> tuple[frozenset[str], frozenset[str]]:
    packages: set[str] = set()
    names = set(NAMES)
    for folder in _config_folders():
        path = folder / "trusted.yaml"
        if path.is_file():
            own = yaml.safe_load(path.read_text()) or {}
            packages |= set(own.get("packages") or [])
            names |= set(own.get("targets") or [])
    return frozenset(packages), frozenset(names)


def _config_folders() -> list[Path]:
    """Every folder on Hydra's search path: the repository's, and what --config-dir added."""
    from hydra.core.global_hydra import GlobalHydra

    if not GlobalHydra.instance().is_initialized():
        return [Path(__file__).resolve().parents[3] / "configs"]
    search_path = GlobalHydra.instance().config_loader().get_search_path().get_path()
    return [Path(e.path.removeprefix("file://")) for e in search_path if "pkg://" not in e.path]
