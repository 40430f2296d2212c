"""Which `_target_`s are built: ours, classes of the kind that a place wants, vouched packages, no others."""

import pytest
from omegaconf import OmegaConf

from deeper.config import trusted
from deeper.config.errors import ConfigError
from deeper.config.instantiate import build

HOSTILE = [
    "os.system", "os.popen", "os.remove", "subprocess.run", "subprocess.Popen", "shutil.copyfile",
    "shutil.rmtree", "builtins.eval", "builtins.exec", "builtins.open", "builtins.__import__",
    "pickle.load", "runpy.run_path", "importlib.import_module", "webbrowser.open", "urllib.request.urlopen",
    "pathlib.Path.unlink", "antigravity.x", "torch.load", "torch.save", "torch.hub.load",
    "torch.hub.download_url_to_file", "torch.jit.load", "torch.os.system", "torch.serialization.load",
    "torch.utils.cpp_extension.load", "torch.distributed.run.main", "torch.nn.Module.cuda",
    "torchvision.datasets.CIFAR10", "torchvision.datasets.utils.download_url", "torchvision.os.system",
    "torchvision.models.get_model",
    "timm.create_model", "lightning.os.system", "lightning.pytorch.cli.LightningCLI", "hydra.utils.get_method",
    "hydra.utils.instantiate", "omegaconf.OmegaConf.load", "numpy.load", "deeper.runs.directory.os.remove",
    "deeper.runs.directory.shutil.rmtree", "deeper.checkpoint.torch.load", "deeper.files.replacement",
    "deeper.cli.main.start", "deeper.models.googlenet.nn.Linear", "deeper.runs.record.count_test_look",
    "deeper.models.pretrained.published.download", "deeper.config.errors.ConfigError",
]  # fmt: skip


@pytest.mark.parametrize("target", HOSTILE)
def test_a_hostile_target_is_refused_wherever_it_stands(target):
    node = {"_target_": target}
    for key in (*trusted.KINDS, "protocol", "precision", "hydra"):
        group, _, name = key.partition(".")
        for config in ({name: node} if name else node, {"x": {"y": [node]}}):
            assert [*trusted.untrusted_targets({group: config})], key
    with pytest.raises(
        ConfigError, match=r"is not trusted|cannot import 'lightning|cannot import 'torchv"
    ):
        build(OmegaConf.create({"inner": {"_target_": target}}))


FIELD = {
    "torch.optim.NAdam": "optimizer",
    "torch.optim.Adam": "optimizer",
    "timm.optim.Lamb": "optimizer",
    "torch.nn.GELU": "model.act",
    "torch.nn.CrossEntropyLoss": "loss",
    "torchvision.transforms.v2.RandomGrayscale": "augment.gray",
    "torchvision.transforms.v2.MixUp": "mix",
    "torchvision.models.ResNet": "model",
    "torchvision.models.resnet18": "model",
    "torchmetrics.classification.MulticlassF1Score": "metrics.f1",
    "lightning.pytorch.callbacks.LearningRateMonitor": "callbacks.lr",
    "lightning.pytorch.callbacks.Timer": "callbacks.timer",
    "lightning.pytorch.loggers.MLFlowLogger": "logger.mlflow",
    "lightning.pytorch.profilers.PyTorchProfiler": "trainer.profiler",
    "lightning.pytorch.strategies.DDPStrategy": "trainer.strategy",
    "lightning.Trainer": "trainer",
}


def config_of(key, node):
    for part in reversed(key.split(".")):
        node = {part: node}
    return node


@pytest.mark.parametrize("target", FIELD)
def test_a_class_of_the_field_is_trusted_where_its_kind_is_wanted(target):
    pytest.importorskip(target.partition(".")[0])
    assert not [*trusted.untrusted_targets(config_of(FIELD[target], {"_target_": target}))]
    assert [*trusted.untrusted_targets(config_of("protocol", {"_target_": target}))]


def test_a_class_of_another_kind_is_refused_with_the_kind_that_is_wanted():
    (line,) = trusted.untrusted_targets({"callbacks": {"x": {"_target_": "torch.optim.SGD"}}})
    assert line.startswith(
        "callbacks.x: _target_ 'torch.optim.SGD' is not trusted (here a lightning.pytorch.Callback of"
    )


def test_everything_that_our_configs_name_is_trusted(configs):
    cfg = configs("data.root=/x", "paths.run=/r")
    assert not [*trusted.untrusted_targets(OmegaConf.to_container(cfg, resolve=True))]


def test_an_installed_package_has_no_list(monkeypatch, tmp_path):
    monkeypatch.setattr(trusted, "CONFIG_FOLDER", tmp_path)
    assert trusted.is_trusted("deeper.models.googlenet.GoogLeNet", ())
    assert not trusted.is_trusted("my_networks.SmallNet", ())
