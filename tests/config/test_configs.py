"""Every recipe × experiment composes and checks, changes one thing, builds and runs."""

from unittest.mock import patch

import pytest
import torch
from entry import EXPERIMENTS, PROJECT, RECIPES
from omegaconf import OmegaConf

from deeper.config import experiments, signatures
from deeper.config import trusted as targets
from deeper.config.instantiate import build, resolved
from deeper.runs import build as assemble

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
    "no_pool": "model.block",
    "no_color": "augment.color",
    "no_interpolation": "augment.crop.interpolation",
    "no_polyak": "averaging",
    "crop_fixed": "augment.crop",
}


def accepted(configs, recipe, experiment):
    configs(f"recipe={recipe}")
    with patch.object(experiments, "_elsewhere", return_value=""):  # a second's advice each time
        return not experiments.problems([f"recipe={recipe}", f"experiment={experiment}"])


def test_every_experiment_is_known_here():
    assert set(ABOUT) == set(EXPERIMENTS) - {"baseline"}


QUICK = ("baseline", "paper")
"""Two seconds a pair: the pairs of all other recipes are for `make test-all`."""


@pytest.mark.parametrize(
    "recipe", [pytest.param(r, marks=() if r in QUICK else pytest.mark.slow) for r in RECIPES]
)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_accepted_experiment_changes_one_thing_and_builds(configs, recipe, experiment):
    if not accepted(configs, recipe, experiment):
        pytest.skip(f"{experiment} asks nothing of {recipe}")
    cfg = configs(f"recipe={recipe}", f"experiment={experiment}", *NEEDS_ROOT)
    base = configs(f"recipe={recipe}", *NEEDS_ROOT)
    changed = experiments.difference(experiments.flat(base), experiments.flat(cfg))
    about = ABOUT.get(experiment, "nothing")
    assert all(key == about or key.startswith(f"{about}.") for key in changed), changed
    assert bool(changed) == (experiment != "baseline")

    cfg.paths.run = "/nowhere"
    plain = resolved(cfg)
    assert targets.refused(plain) == []
    assert signatures.problems(plain) == []
    with torch.device("meta"):
        net = build(cfg.model, num_classes=10)
    build(cfg.optimizer)(net)
    for part in (
        "loss",
        "preprocess",
        "scheduler",
        "precision",
        "augment",
        "mix",
        "averaging",
        "callbacks",
    ):
        build(cfg[part])


@pytest.mark.slow
def test_every_experiment_is_accepted_by_some_recipe(configs):
    for experiment in EXPERIMENTS:
        assert any(accepted(configs, recipe, experiment) for recipe in RECIPES), experiment


@pytest.mark.parametrize("group", ["data", "optimizer", "scheduler", "loss", "metrics", "averaging", "trainer",
                                   "model", "model/head", "model/aux", "model/norm", "model/block",
                                   "model/init", "augment", "augment/crop", "augment/color", "mix",
                                   "preprocess", "precision", "logger", "callbacks", "protocol"])  # fmt: skip
def test_every_option_composes_and_checks(configs, group):
    configs()
    for option in experiments.options(group):
        if option.startswith("_"):
            continue
        cfg = configs(f"{group}={option}", *NEEDS_ROOT)
        cfg.paths.run = "/nowhere"
        plain = resolved(cfg)
        assert targets.refused(plain) + signatures.problems(plain) == [], option


@pytest.mark.parametrize("group", ["sweep", "debug"])
def test_sweeps_and_debug_compose(configs, group):
    for path in (PROJECT / "configs" / group).glob("*.yaml"):
        configs(f"{group}={path.stem}", return_hydra_config=True)


def test_imagenet_sizes_follow_the_data(configs):
    for recipe, epochs in {"paper": 250, "bvlc_quick": 60, "modern": 200, "baseline": 90}.items():
        cfg = configs("data=imagenet", f"recipe={recipe}", *NEEDS_ROOT)
        found = cfg.data.image_size, cfg.model.image_size, cfg.model.stem, cfg.epochs
        assert found == (224, 224, "imagenet", epochs)


def test_a_recipe_without_a_row_for_the_data_is_refused(configs):
    from deeper.config.check import _scale_problems

    cfg = configs("recipe=cifar10", "data=imagenet", *NEEDS_ROOT)
    (line,) = _scale_problems(cfg)
    assert "has no row for data of scale 'imagenet' (it has small)" in line


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
            "it applies to recipe=bvlc_quick|paper|paper_ensemble",
        ),
        (
            ["model=timm", "experiment=no_aux"],
            "experiment=no_aux changes model/aux, and model=timm has no such part; it applies to "
            "recipe=baseline|bvlc_quick|cifar10|imagenette|modern|paper|paper_ensemble",
        ),
        (
            ["model=timm", "experiment=no_dropout"],
            "experiment=no_dropout changes model.head, and model=timm has no such part; it applies to "
            "recipe=baseline|bvlc_quick|imagenette|modern|paper|paper_ensemble",
        ),
        (
            ["experiment=[head_fc,head_nin]"],
            "experiments head_fc and head_nin both set model.head._target_: choose one",
        ),
        (
            ["experiment=no_color"],
            "experiment=no_color changes nothing of recipe=baseline; it applies to recipe=modern|paper|paper_ensemble",
        ),
    ],
)
def test_refused_experiments(configs, overrides, reason):
    configs()
    assert experiments.problems(overrides) == [reason]


def test_lrn_off_is_a_question_for_the_paper(configs):
    assert accepted(configs, "paper", "no_lrn")


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


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_runs(train, configs, experiment):
    recipe = next(r for r in ["baseline", "paper", *RECIPES] if accepted(configs, r, experiment))
    train(f"recipe={recipe}", f"experiment={experiment}", "model.width=0.125")


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_runs(train, recipe):
    train(f"recipe={recipe}", "model.width=0.125")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_accepted_pair_runs(train, configs, recipe, experiment):
    if not accepted(configs, recipe, experiment):
        pytest.skip(f"{experiment} asks nothing of {recipe}")
    train(f"recipe={recipe}", f"experiment={experiment}", "model.width=0.125")


def test_the_seven_of_the_ensemble_differ_in_order_and_crops_and_one_in_width(configs):
    """§7: same initial weights and rates; by their own sampling and order; one wider."""
    paper = configs("recipe=paper")
    swept = configs("recipe=paper_ensemble", return_hydra_config=True).hydra.sweeper.params.member
    seven = [configs("recipe=paper_ensemble", f"member={name}") for name in swept.split(",")]
    assert len({(m.data_seed, m.seed) for m in seven}) == 7
    assert {m.init_seed for m in seven} == {0}
    assert [m.model.width for m in seven] == [1.0] * 6 + [1.25]
    assert len({tuple(m.augment.crop.area) for m in seven[:6]}) == 6
    for member in seven:
        for part in ("loss", "optimizer", "scheduler", "averaging", "preprocess", "epochs"):
            assert member[part] == paper[part]
