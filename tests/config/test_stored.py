"""Configs of checkpoints that other versions wrote."""

import pytest
from omegaconf import OmegaConf

from deeper.config import stored as carried
from deeper.config.instantiate import build, resolved
from deeper.evaluation import evaluate as reevaluate

NEWER = ("compile", "channels_last", "init_seed", "data_seed", "mix", "protocol")


@pytest.fixture
def stored(configs):
    """The resolved config of a training."""
    return resolved(configs("data.root=/images", "paths.run=/r", "seed=3"))


def test_keys_that_came_later_have_todays_defaults(stored):
    for key in NEWER:
        stored.pop(key)
    for key in ("cache", "bad", "stage_to", "eval_crop", "val_from", "holdout", "limit"):
        stored["data"].pop(key, None)
    found = carried.completed(stored, "a.ckpt")
    assert (found["init_seed"], found["data_seed"], found["channels_last"]) == (3, 3, True)
    assert (found["data"]["val_from"], found["data"]["eval_crop"]) == ("holdout", 0.875)
    assert found["protocol"] == carried.SINGLE
    assert "val_from" not in stored["data"]


def test_what_has_no_default_is_said(stored):
    stored.pop("preprocess")
    stored["model"]["depth"] = 3
    with pytest.raises(
        ValueError, match=r"a\.ckpt: preprocess: the config in the checkpoint has no"
    ):
        carried.completed(stored, "a.ckpt")
    stored["preprocess"] = {"_target_": "torch.load"}
    with pytest.raises(
        ValueError, match=r"a\.ckpt: preprocess: _target_ 'torch\.load' is not trust"
    ):
        carried.completed(stored, "a.ckpt")
    stored["preprocess"] = {"_target_": "deeper.models.preprocess.Preprocess"}
    with pytest.raises(ValueError, match=r"a\.ckpt: model\.depth: GoogLeNet has no such argument"):
        carried.completed(stored, "a.ckpt")
    for damaged in (None, [], {"model": 1}):
        with pytest.raises(ValueError, match=r"a\.ckpt: data\.root: the config in the checkpoint"):
            carried.completed(damaged, "a.ckpt")


@pytest.mark.parametrize(
    "root", ["/a/${x}", "/a/${oc.env:HOME}", "/a/\\${x}\\", "/a/${", "/a b,[c]"]
)
def test_a_root_is_what_it_was(stored, configs, root):
    stored["data"]["root"] = root
    stored["data"].pop("cache")
    cfg = configs("trainer=cpu", "paths.cache=/c", "paths.run=/r", name="eval")
    config = reevaluate.trained_config(cfg, {"deeper": {"config": stored}})
    assert resolved(config)["data"]["root"] == config.data.root == root
    assert config.data.cache == "/c"
    assert str(build(config.data.source)(root=config.data.root, cache="/c").root) == root


def test_another_root(stored, configs):
    cfg = configs("trainer=cpu", "data.root=/b/x", "paths.run=/r", "paths.cache=/c", name="eval")
    config = reevaluate.trained_config(cfg, {"deeper": {"config": stored}})
    assert config.data.root == "/b/x"
    assert OmegaConf.to_container(config.augment) == {}
