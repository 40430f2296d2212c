"""Configs that checkpoints hold."""

import pytest
import torch
from entry import call
from omegaconf import OmegaConf

from deeper.checkpoint import contents, save_checkpoint
from deeper.config import stored as stored_configs
from deeper.config.instantiate import build, resolved
from deeper.evaluation.config import evaluation_config
from deeper.runs import resume


@pytest.fixture
def stored(configs):
    """The resolved config of a training."""
    return resolved(configs("data.root=/images", "paths.run=/r", "seed=3"))


@pytest.fixture
def loaded(tmp_path):
    """`loaded(config)`: what a checkpoint that holds this config is loaded as."""

    def load(config):
        path = tmp_path / "a.ckpt"
        save_checkpoint({"state_dict": {}, "deeper": contents(config, ["ant", "bee"])}, path)
        return stored_configs.load_with_config(path)

    return load


def test_a_config_of_today_is_loaded_as_it_is(stored, loaded):
    assert loaded(stored)["deeper"]["config"] == stored


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("preprocess", None, "preprocess: missing in the config of the checkpoint; evaluate it"),
        (
            "preprocess",
            {"_target_": "torch.load"},
            "preprocess: _target_ 'torch.load' is not trust",
        ),
        (
            "preprocess",
            {"_target_": "deeper.gone.Preprocess"},
            "preprocess._target_: cannot import 'deeper.gone.Preprocess'",
        ),
        (
            "model",
            {"_target_": "deeper.models.googlenet.GoogLeNet", "depth": 3},
            "model.depth: Goog",
        ),
    ],
)
def test_what_cannot_be_built_is_said_with_the_file(stored, loaded, part, value, message):
    with pytest.raises(ValueError, match=rf"a\.ckpt: {message}"):
        loaded(stored | {part: value})


@pytest.mark.parametrize("damaged", [None, [], {"model": 1}])
def test_a_damaged_config_is_said(loaded, damaged):
    with pytest.raises(ValueError, match=r"a\.ckpt: data\.root: missing in the config"):
        loaded(damaged)


OLD = "written by an earlier version (format 1); evaluate it with the version that wrote it"


@pytest.fixture
def old(tmp_path):
    """A checkpoint as the version before wrote it, as far as it is read."""
    path = tmp_path / "old.ckpt"
    config = {"model": {"_target_": "deeper.models.googlenet.GoogLeNet"}}
    torch.save({"state_dict": {}, "deeper": {"format": 1, "config": config, "classes": []}}, path)
    return path


@pytest.mark.parametrize("script", ["eval", "predict", "export"])
def test_a_checkpoint_of_an_earlier_version_is_refused(script, old, tmp_path):
    files = [str(old)] if script == "predict" else []
    refused = call(f"ckpt={old}", *files, f"paths.logs={tmp_path / 'logs'}", script=script)
    assert refused.returncode == 2, refused.stderr
    (line,) = refused.stderr.strip().splitlines()
    assert line == f"{old}: {OLD} (commit 8484ce0), or train anew"


@pytest.mark.parametrize(
    "root", ["/a/${x}", "/a/${oc.env:HOME}", "/a/\\${x}\\", "/a/${", "/a b,[c]"]
)
def test_a_root_is_what_it_was(stored, configs, root):
    stored["data"]["root"] = root
    stored["data"].pop("cache")
    cfg = configs("trainer=cpu", "paths.cache=/c", "paths.run=/r", name="eval")
    config = evaluation_config(cfg, {"deeper": {"config": stored}})
    assert resolved(config)["data"]["root"] == root
    assert config.data.cache == "/c"
    assert str(build(config.data.source)(root=config.data.root, cache="/c").root) == root


def test_another_root(stored, configs):
    cfg = configs("trainer=cpu", "data.root=/b/x", "paths.run=/r", "paths.cache=/c", name="eval")
    config = evaluation_config(cfg, {"deeper": {"config": stored}})
    assert config.data.root == "/b/x"
    assert OmegaConf.to_container(config.augment) == {}


def test_a_received_run_reads_no_environment_variable(configs, tmp_path, monkeypatch):
    """The own run's is written as it was; what a foreign file asks for stays text."""
    monkeypatch.setenv("WHERE", "/there")
    cfg = configs("data.root=${oc.env:WHERE}/images", "paths.run=/r", "epochs=3")
    resume.save_config(cfg, tmp_path)
    monkeypatch.setenv("WHERE", "/secret")
    own = resume.resumed_config(cfg, tmp_path)
    assert (own.data.root, own.trainer.max_epochs) == ("/there/images", 3)

    received = OmegaConf.load(tmp_path / "config.yaml")
    asked = ["${oc.env:WHERE}", "${${loss.x}:WHERE}", "${oc.decode:${oc.env:WHERE}}"]
    received.data.root, received.name, received.loss.x = asked[1], asked[0], "oc.env"
    received.model.list = asked
    OmegaConf.save(received, tmp_path / "config.yaml")
    for _ in range(2):
        config = resume.resumed_config(cfg, tmp_path)
        assert (config.data.root, config.name) == (asked[1], asked[0])
        assert resolved(config)["model"]["list"] == asked
        resume.save_config(config, tmp_path)
