"""Every recipe × experiment composes and checks, changes one thing, builds and runs."""

import re
from copy import deepcopy
from functools import cache

import pytest
import torch
from entry import EXPERIMENTS, PROJECT, RECIPES
from omegaconf import OmegaConf
from PIL import Image

from deeper.config import experiments, overrides, signatures
from deeper.config.check import check, doubtful_settings
from deeper.config.errors import ConfigError
from deeper.config.groups import group_options
from deeper.config.instantiate import build, resolved
from deeper.data.dataset import Pipeline
from deeper.runs import build as assemble
from deeper.training.loss import training_loss
from deeper.training.optimizers import make_optimizer
from deeper.training.schedules import Progress

NEEDS_ROOT = ["data.root=/nowhere"]

# What each experiment is about: a config key, at or below which all its changes lie.
ABOUT = {
    "no_aux": "model.aux",
    "aux_4a": "model.aux",
    "aux_4d": "model.aux",
    "head_fc": "model.head",
    "head_fc4096": "model.head",
    "head_nin": "model.head",
    "no_dropout": "model.head.dropout",
    "no_lrn": "model.norm",
    "norm_bn": "model.norm",
    "norm_lrn": "model.norm",
    "block_naive": "model.block",
    "block_naive_proj": "model.block",
    "block_naive_narrow": "model.block",
    "block_naive_proj_narrow": "model.block",
    "no_pool": "model.block",
    "no_color": "augment.color",
    "no_interpolation": "augment.crop.interpolation",
    "no_polyak": "averaging",
    "crop_fixed": "augment.crop",
}


compose_anew = experiments.composed


@cache
def composed_once(*words):
    """With Hydra's node. For all tests here, which change nothing in it: composing is most of their time."""
    return compose_anew(words)


@pytest.fixture(autouse=True)
def composing_once(configs, monkeypatch):
    monkeypatch.setattr(experiments, "composed", lambda words: composed_once(*words))


@cache
def accepted(recipe, experiment):
    words = [f"recipe={recipe}", f"experiment={experiment}"]
    return not [*experiments.misplaced_experiments(words)]


def test_every_experiment_is_known_here():
    assert set(ABOUT) == set(EXPERIMENTS) - {"baseline"}


QUICK = ("baseline", "paper")
"""The pairs of all other recipes are for `make test-all`."""


@pytest.mark.parametrize(
    "recipe", [pytest.param(r, marks=() if r in QUICK else pytest.mark.slow) for r in RECIPES]
)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_accepted_experiment_changes_one_thing_and_takes_a_step(recipe, experiment):
    if not accepted(recipe, experiment):
        pytest.skip(f"{experiment} does not apply to {recipe}")
    cfg = composed_once(f"recipe={recipe}", f"experiment={experiment}")
    base = composed_once(f"recipe={recipe}")
    changed = experiments.changed_keys(experiments.leaves(base), experiments.leaves(cfg))
    about = ABOUT.get(experiment, "nothing")
    assert all(key == about or key.startswith(f"{about}.") for key in changed), changed
    assert bool(changed) == (experiment != "baseline")

    cfg = deepcopy(OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"]))
    cfg.data.root = cfg.paths.run = "/nowhere"
    signatures.require_buildable(resolved(cfg))
    cfg.model.width = 0.125
    net = build(cfg.model, num_classes=10)
    optimizer = make_optimizer(build(cfg.optimizer), net)
    view = Pipeline(build(cfg.augment), cfg.data.image_size)
    photo = Image.new("RGB", (160, 120), (200, 90, 30))
    images = build(cfg.preprocess)(torch.stack([view(photo), view(photo)]))
    loss = training_loss(build(cfg.loss), build(cfg.mix))(net(images), torch.tensor([1, 2]))["loss"]
    loss.backward()
    optimizer.step()
    assert all(value.isfinite().all() for value in net.parameters())
    assert 0 < build(cfg.scheduler)(Progress(0.5, 1.0, 2)) <= 1
    for part in ("averaging", "callbacks"):
        build(cfg[part])


def test_every_experiment_is_accepted_by_some_recipe():
    for experiment in EXPERIMENTS:
        assert any(accepted(recipe, experiment) for recipe in (*QUICK, *RECIPES)), experiment


OPTIONS = group_options()
INDEPENDENT = ("data", "optimizer", "scheduler", "loss", "metrics", "averaging", "trainer", "model/head",
               "model/aux", "model/norm", "model/block", "model/init", "augment", "mix", "preprocess",
               "logger", "protocol")  # fmt: skip
"""Groups of which each option composes with each option of the others."""


@pytest.mark.parametrize(
    "groups", [INDEPENDENT, ["augment/crop", "augment/color"], ["model"], ["sweep", "debug"]]
)
def test_every_option_composes_and_checks(configs, groups):
    for turn in range(max(len(OPTIONS[group]) for group in groups)):
        words = [f"{group}={OPTIONS[group][turn % len(OPTIONS[group])]}" for group in groups]
        cfg = configs(*words, *NEEDS_ROOT)
        cfg.paths.run = "/nowhere"
        signatures.require_buildable(resolved(cfg))


@pytest.mark.parametrize("option", ["early_stopping"])
def test_a_callback_adds_to_what_a_run_needs(configs, option):
    needed = ["banner", "meter", "checkpoint", "progress", "media"]
    assert list(configs().callbacks) == needed
    assert list(configs(f"callbacks={option}").callbacks) == [*needed, option]
    assert "meter" not in configs("~callbacks.meter").callbacks


WITHOUT_CLAIM = {"baseline", "block_naive", "block_naive_proj"}
"""The paper says nothing of their accuracy."""


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_says_what_is_claimed_of_it(name, configs):
    claim = configs("recipe=paper", f"experiment={name}").claim
    if name in WITHOUT_CLAIM:
        assert claim is None
        return
    assert claim.says
    assert (claim.direction.value == "none") == (claim.margin is not None)


SWEEPS = {"aux": [], "head": [], "block": [], "augment": ["recipe=paper"], "norm": ["recipe=paper"],
          "ablations": ["recipe=paper"], "remeasured": [], "remeasured_2014": [],
          "remeasured_confirmed": []}  # fmt: skip
"""Sweeps of experiments, with the words that their headers have."""


@pytest.mark.slow
@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_arm_of_a_sweep_changes_something_of_its_recipe(sweep, configs):
    words = [f"sweep={sweep}", *SWEEPS[sweep]]
    header = (PROJECT / f"configs/sweep/{sweep}.yaml").read_text()
    assert f"python src/train.py -m {' '.join(words)}" in header
    params = configs(*words, return_hydra_config=True).hydra.sweeper.params
    arms = re.findall(r"\[[^]]*\]|[^,\s]+", params.experiment)
    assert arms[0] == "baseline"
    for arm in arms:
        chosen = [*words, f"experiment={arm}", "paths.run=/r", "trainer=cpu"]
        check(configs(*chosen))


def test_rate_batch_and_epochs_are_words_of_the_command_line(configs):
    cfg = configs("recipe=cifar10", "lr=0.1", "batch_size=64", "epochs=3", *NEEDS_ROOT)
    plain = resolved(OmegaConf.merge(cfg, {"paths": {"run": "/r"}}))
    assert (plain["optimizer"]["lr"], plain["optimizer"]["batch_size"]) == (0.1, 64)
    assert (plain["data"]["batch_size"], plain["trainer"]["max_epochs"]) == (64, 3)
    own_row = configs("recipe=cifar10")
    assert (own_row.lr, own_row.batch_size, own_row.epochs) == (0.25, 256, 26)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ([], "baseline"),
        (["experiment=baseline"], "baseline"),
        (["recipe=paper", "experiment=[no_aux,head_fc]"], "paper-no_aux-head_fc"),
        (["model=timm", "lr=0.1", "data=folder"], "baseline-timm"),
        (["recipe=paper", "model/norm=bn", "optimizer=adamw"], "paper-norm_bn-adamw"),
    ],
)
def test_the_name_of_a_run_says_what_was_chosen(monkeypatch, words, name):
    monkeypatch.setattr(overrides, "task_overrides", lambda: words)
    assert overrides.run_name() == name


@pytest.mark.parametrize(
    ("words", "rate"),
    [
        ([], None),
        (["experiment=no_aux"], None),
        (["recipe=cifar10", "experiment=norm_lrn"], "lr=0.25: recipe=cifar10"),
        (["recipe=cifar10", "experiment=norm_lrn", "lr=0.02"], None),
        (["recipe=paper", "experiment=norm_bn"], "lr=0.005: recipe=paper"),
        (["recipe=modern", "optimizer=adamw"], "lr=0.1: recipe=modern"),
    ],
)
def test_a_rate_for_another_norm_or_optimizer_is_said(words, rate):
    note = "chose this rate for its own optimizer and norm; pass lr=<rate> for another"
    found = [*doubtful_settings(composed_once(*words), words)]
    assert found == ([f"{rate} {note}"] if rate else [])


def test_a_length_of_the_trainer_alone_is_said():
    words = ["trainer.max_epochs=20"]
    assert [*doubtful_settings(composed_once(*words), words)] == [
        "trainer.max_epochs=20: schedules are still those of epochs=10; pass epochs=20 to change "
        "them too"
    ]


def test_a_plain_optimizer_class_of_torch_checks(configs):
    """The factory of the optimizers gives it parameter groups."""
    nadam = "{_target_: torch.optim.NAdam, _partial_: true, lr: 0.002}"
    check(configs("~optimizer", f"+optimizer={nadam}", "paths.run=/r", "trainer=cpu"))
    ill = "{_target_: torch.optim.NAdam, _partial_: true, rate: 0.002}"
    with pytest.raises(ConfigError, match=r"optimizer\.rate: NAdam has no such argument"):
        check(configs("~optimizer", f"+optimizer={ill}", "paths.run=/r", "trainer=cpu"))


def test_imagenet_sizes_follow_the_data(configs):
    for recipe, epochs in {"paper": 250, "bvlc_quick": 60, "modern": 200, "baseline": 90}.items():
        cfg = configs("data=imagenet", f"recipe={recipe}", *NEEDS_ROOT)
        found = cfg.data.image_size, cfg.model.image_size, cfg.model.stem, cfg.epochs
        assert found == (224, 224, "imagenet", epochs)


def test_a_recipe_without_a_row_for_the_data_is_refused(configs, tmp_path):
    words = ["recipe=cifar10", "data=imagenet", "paths.run=/r", "trainer=cpu"]
    words += [f"data.root={tmp_path}"]
    with pytest.raises(ConfigError, match=r"no row for data of scale 'imagenet' \(it has small\)"):
        check(configs(*words))
    check(configs(*words, "epochs=1", "batch_size=8", "lr=0.1"))


def test_the_order_of_overrides_does_not_matter(configs):
    words = [
        "experiment=no_aux",
        "recipe=paper",
        "data=imagenet",
        "model.width=0.5",
        "data.root=/x",
    ]
    assert OmegaConf.to_yaml(configs(*words)) == OmegaConf.to_yaml(configs(*reversed(words)))


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (
            ["experiment=no_lrn"],
            "experiment=no_lrn needs model/norm=lrn|lrn_google, but recipe=baseline has model/norm=bn; "
            "it applies to recipe=paper",
        ),
        (
            ["model=timm", "experiment=no_dropout"],
            "experiment=no_dropout changes model.head, and model=timm has no such part",
        ),
        (
            ["experiment=[head_fc,head_nin]"],
            "experiments head_fc and head_nin both set model/head: choose one",
        ),
        (
            ["experiment=[no_aux,aux_4a]"],
            "experiments no_aux and aux_4a both set model/aux: choose one",
        ),
        (
            ["experiment=no_color"],
            "experiment=no_color changes nothing of recipe=baseline; it applies to recipe=paper",
        ),
    ],
)
def test_refused_experiments(overrides, reason):
    assert [*experiments.misplaced_experiments(overrides)] == [reason]


def test_experiments_stack(configs):
    cfg = configs("experiment=[no_aux,head_fc]")
    assert cfg.model.aux == {}
    assert cfg.model.head.hidden == [1024]


def test_shared_parameters_start_equal_across_an_ablation(configs):
    nets = [
        assemble.network(configs(*words, "model.width=0.125"), ["a", "b"])
        for words in ([], ["experiment=no_aux"], ["experiment=head_fc"])
    ]
    whole = dict(nets[0].named_parameters())
    for other in nets[1:]:
        for name, value in other.named_parameters():
            if name in whole and whole[name].shape == value.shape:
                assert torch.equal(value, whole[name]), name


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_runs(train, recipe):
    train(f"recipe={recipe}", "model.width=0.125")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_accepted_pair_runs(train, recipe, experiment):
    if not accepted(recipe, experiment):
        pytest.skip(f"{experiment} does not apply to {recipe}")
    same_size = ["data.eval_scale=1"] if experiment.startswith("head_fc") else []
    train(f"recipe={recipe}", f"experiment={experiment}", "model.width=0.125", *same_size)


def test_the_ensemble_of_the_paper_differs_in_order_and_crops(configs):
    """§7: same initial weights and rates, other orders and crops. The wide one is a command of its own."""
    paper = configs("recipe=paper")
    params = configs("sweep=paper_ensemble", return_hydra_config=True).hydra.sweeper.params
    assert params.seed == "1,2,3,4,5,6"
    members = [configs("sweep=paper_ensemble", f"seed={seed}") for seed in (1, 2)]
    assert [(m.data_seed, m.seed) for m in members] == [(1, 1), (2, 2)]
    assert {m.init_seed for m in members} == {0}
    for member in members:
        for part in ("model", "loss", "optimizer", "scheduler", "averaging", "augment", "epochs"):
            assert member[part] == paper[part]
