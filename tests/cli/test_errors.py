"""The messages for mistakes of users: exit 2, no traceback, nothing left behind."""

import shutil
from pathlib import Path

import pytest
from entry import PROJECT, call, run_dirs, small

from deeper.config.errors import ConfigError
from deeper.data.images.encoded import SUFFIXES
from deeper.runs import directory


def own_config(folder: Path, group: str, text: str) -> str:
    (folder / group).mkdir(parents=True)
    (folder / group / "mine.yaml").write_text(text)
    return f"--config-dir={folder}"


def test_refused_at_composition(refused, tmp_path):
    message = refused("seed=fast", f"paths.logs={tmp_path}")
    assert message == (
        "Error merging override seed=fast\n"
        "Value 'fast' of type 'str' could not be converted to Integer"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_typo_in_a_file_at_top_level_names_the_file(refused, tmp_path):
    flag = own_config(tmp_path, "recipe", "# @package _global_\nsed: 3\n")
    assert (
        refused(flag, "recipe=mine") == "In 'recipe/mine': sed: no such key; did you mean 'seed'?"
    )


def test_a_file_for_the_whole_config_has_to_say_so(refused, tmp_path):
    flag = own_config(tmp_path, "recipe", "seed: 3\n")
    assert refused(flag, "recipe=mine") == (
        "recipe=mine: the first line of its file has to be # @package _global_"
    )


def test_a_file_that_is_not_yaml_is_named_with_its_line(refused, tmp_path):
    flag = own_config(tmp_path, "recipe", "# @package _global_\nseed: 3\nname: [a, b\nepochs: 1\n")
    message = refused(flag, "recipe=mine")
    assert message.startswith(f"{tmp_path}/recipe/mine.yaml, line 4: not YAML: ")


def test_logs_that_cannot_be_made(refused, tmp_path):
    (tmp_path / "file").touch()
    message = refused(f"paths.logs={tmp_path}/file")
    assert message.startswith(f"cannot make {tmp_path}/file/train/runs")
    assert "Not a directory; pass paths.logs=<a folder that can be written>" in message


def test_a_name_stays_in_its_folder(refused, tmp_path):
    rule = "1 to 100 letters, digits and . _ - make a name, and no dot begins it"
    assert refused("name=../x", f"paths.logs={tmp_path}/logs") == f"name=../x: {rule}"
    assert list(tmp_path.iterdir()) == []
    for name in ["/x", "a/b", ".x", "a b", "grün", "", "a" * 101]:
        with pytest.raises(ValueError, match=f"name={name}: {rule}"):
            directory.run_dir("logs", "train", name, None)


def test_a_resumed_run_that_is_none_is_said_in_our_words(refused):
    assert refused("resume=/nowhere") == (
        "/nowhere: no such run directory; `ls -d logs/train/runs/*` lists yours"
    )


HEADS = "|".join(sorted(path.stem for path in (PROJECT / "configs/model/head").glob("*.yaml")))
CHOICES = {
    "recipe=[paper,modern]": "recipe=[paper,modern]: choose one recipe",
    "sweep=lr": "sweep=lr: lists the jobs of a multirun; pass -m too",
    "model.norm=bn": "model.norm=bn: did you mean model/norm=bn?",
    "model.head=mlp": f"model.head=mlp: did you mean model/head={HEADS}?",
    "+epoch=3": "epoch: no such key; did you mean 'epochs'?",
    "experiment=[no_aux,aux_4a]": ("experiments no_aux and aux_4a both set model/aux: choose one"),
    "data.workers=???": "data.workers: required; pass data.workers=<value>",
}
"""A word of the command → what is said about it. The checks of one table do not need each other."""

TARGETS = {
    "+callbacks.evil={_target_: os.system, command: ls}": (
        "callbacks.evil: _target_ 'os.system' is not trusted (here a lightning.pytorch.Callback of a "
        "known library is); if you know what it does, pass trust=[os.system] on the "
        "command line, or add it to configs/trusted.yaml"
    ),
    "+callbacks.mine={_target_: torch.nothing.There}": (
        "callbacks.mine._target_: cannot import 'torch.nothing.There' (No module "
        "named 'torch.nothing')"
    ),
}

ARGUMENTS = {
    "+model.hed=1": "model.hed: GoogLeNet has no such argument; did you mean 'head'?",
    "+model.num_classes=5": (
        "model.num_classes: the program passes this argument itself; the data set has a number of "
        "classes"
    ),
    "model.widths=table2": (
        "model.widths: GoogLeNet wants Literal['table1', 'inception5h'], got 'table2'"
    ),
    "optimizer.lr=fast": "optimizer.lr: sgd wants float, got 'fast'",
    "~scheduler._partial_": "scheduler: needs _partial_: true, as the program calls cosine itself",
    "+callbacks.more={patience: 3}": (
        "callbacks.more: has no _target_; remove it with ~callbacks.more"
    ),
    "epochs=0": "epochs=0: must be at least 1",
    "trainer.accumulate_grad_batches=0": ("trainer.accumulate_grad_batches=0: must be at least 1"),
    "init_seed=-1": "init_seed=-1: must lie in 0..2^63-1",
    "data_seed=18446744073709551616": ("data_seed=18446744073709551616: must lie in 0..2^63-1"),
    "objective=test/loss": (
        "objective=test/loss is better when it is lower: pass direction=minimize too"
    ),
    "callbacks=early_stopping": (
        "objective=test/loss: no such metric; choose from val/loss, val/top1, val/top5"
    ),
    "callbacks.checkpoint.monitor=train/loss": (
        "callbacks.checkpoint.monitor=train/loss: no such metric; did you mean 'val/loss'?"
    ),
    "callbacks.early_stopping.monitor=nope": (
        "callbacks.early_stopping.monitor=nope: no such metric; choose from val/loss, val/top1, "
        "val/top5"
    ),
}

IMPORTED = {
    "+trainer.precision=16-mixed": (
        "trainer.precision: the program passes this argument itself; pass precision="
    ),
    "trainer.sync_batchnorm=true": (
        "trainer.sync_batchnorm: needs CUDA GPUs; on CPU leave it false (each process keeps "
        "statistics of its own)"
    ),
    "precision=fp16": (
        "precision=fp16 needs a CUDA GPU; on CPU these work: precision=fp32, precision=bf16, "
        "precision=auto"
    ),
    "loss.aux_weight=-1": "loss: aux_weight=-1: weights must be at least 0",
    "scheduler.warmup_epochs=-2": "scheduler: warmup_epochs=-2: must be at least 0",
    "data.batch_size=0": "data: image_size, batch_size and eval_batch_size must be at least 1",
}

CONSTRUCTORS = {
    "data.image_size=66": (
        "model: image_size=66 is too small for the auxiliary head at inception4a behind stem "
        "'imagenet'; the smallest that works is 79: data.image_size=79 or model.stem=small or "
        "model/aux=none"
    ),
    "loss.aux_weight={incepton4a: 0.3}": (
        "loss.aux_weight names incepton4a, but not the head at inception4a"
    ),
    "lr=nan": "optimizer: lr=nan: must be above 0",
}


@pytest.mark.parametrize("mistakes", [CHOICES, ARGUMENTS, TARGETS, IMPORTED, CONSTRUCTORS])
def test_all_mistakes_that_one_check_can_find_are_listed_at_once(
    refused, mistakes, images, tmp_path
):
    logs = tmp_path / "logs"
    message = refused(*mistakes, f"data.root={images}", f"paths.logs={logs}", "trainer=cpu")
    title, *lines = message.splitlines()
    assert title == f"{len(mistakes)} problems in the configuration:"
    for expected in mistakes.values():
        assert any(line.startswith(f"  {expected}") for line in lines), expected
    assert not [path for path in logs.rglob("*") if path.is_file()]


def test_a_typo_in_a_nested_key_of_a_recipe(refused, tmp_path):
    recipe = "# @package _global_\noptimizer:\n  momentm: 0.8\n"
    flag = own_config(tmp_path, "recipe", recipe)
    rates = ["epochs=1", "batch_size=8", "lr=0.1"]
    assert refused(flag, "recipe=mine", *rates, f"paths.logs={tmp_path}/logs") == (
        "1 problem in the configuration:\n"
        "  optimizer.momentm: sgd has no such argument; did you mean 'momentum'?"
    )


def test_a_part_that_the_network_does_not_have(refused, tmp_path):
    """Hydra refuses it at composition."""
    assert refused("model=timm", "experiment=no_aux", f"paths.logs={tmp_path}") == (
        "experiment=no_aux changes model/aux, and model=timm has no such part"
    )


def test_a_missing_data_root(refused, tmp_path):
    message = refused("data=folder", "data.root=/nowhere", f"paths.logs={tmp_path}")
    assert message == (
        "data.root=/nowhere: no such folder; pass data.root=<a folder with train/<class>/* and "
        "val/<class>/*>, or with ImageNet as its archives, Kaggle or the Hub give it"
    )


def test_a_class_folder_without_images(refused, images, tmp_path):
    root = tmp_path / "images with spaces, [and] 'quotes'"
    shutil.copytree(images, root)
    name = sorted(p.name for p in (root / "train").iterdir())[3]
    for path in (root / "val" / name).iterdir():
        path.rename(path.with_suffix(".txt"))
    message = refused("data=folder", f"data.root={root}", f"paths.logs={tmp_path / 'logs'}")
    assert message == (
        f"{root}/val/{name} holds no image ({', '.join(SUFFIXES)}); remove the folder from every "
        f"split or add images"
    )


def test_a_checkpoint_of_other_classes(refused, trained_run, images, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(images, other)
    for split in ("train", "val"):
        (other / split / "bricks_amber").rename(other / split / "zebra")
    words = [f"run={trained_run}", f"data.root={other}", "trainer=cpu", f"paths.logs={tmp_path}"]
    assert refused(*words, script="eval") == (
        "the checkpoint was trained on 10 classes, the data has 10, first at 0: 'bricks_amber' against "
        "'bricks_azure'; evaluate on data of the same classes, or train anew"
    )


def test_a_batch_that_does_not_divide(refused, images, tmp_path):
    words = small(images, tmp_path, "data.batch_size=15", "trainer.accumulate_grad_batches=2")
    assert refused(*words) == (
        "data.batch_size=15 is global and does not divide over 1 processes × 2 accumulated batches; "
        "the nearest that does: data.batch_size=16"
    )


def test_what_lightning_refuses(refused, images, tmp_path):
    words = small(images, tmp_path, "trainer=cpu", "trainer.devices=0")
    assert refused(*words) == (
        "trainer: `Trainer(devices=0)` value is not a valid input using cpu accelerator."
    )
    assert not run_dirs(tmp_path)


def test_a_download_without_a_network(refused, tmp_path, monkeypatch):
    """No resolver answers for a proxy that does not exist."""
    words = ["recipe=cifar10", f"paths.data={tmp_path / 'data'}", f"paths.logs={tmp_path / 'logs'}"]
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    message = refused(*words)
    assert message.startswith(
        f"CIFAR-10 is not under data.root={tmp_path}/data/cifar10 and could not"
    )
    assert not list((tmp_path / "data").iterdir())


def test_a_multirun_is_checked_before_its_first_job_and_leaves_nothing(refused, images, tmp_path):
    message = refused("-m", "optimizer.lr=0.1,-1", *small(images, tmp_path))
    title, rate = message.splitlines()
    assert title == "1 problem in the configuration:"
    assert rate.startswith("  job 1 (optimizer.lr=-1 ")
    assert rate.endswith("optimizer: lr=-1: must be above 0")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_broken_image_names_the_file(refused, images, tmp_path):
    root = tmp_path / "images"
    shutil.copytree(images, root)
    broken = sorted((root / "train" / "dots_azure").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:200])
    words = small(root, tmp_path / "logs", "data=folder", "data.image_size=80", "data.limit=null")
    message = refused(*words, "data.workers=1", "model.width=0.125")
    assert message.startswith(f"cannot read the image {broken}: ")


TRAP = """
class Trap:
    def __call__(self, image):
        raise ValueError("not the user's fault")
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_a_crash_of_foreign_code_keeps_its_traceback(images, tmp_path, monkeypatch, workers):
    (tmp_path / "traps.py").write_text(TRAP)
    monkeypatch.syspath_prepend(tmp_path)
    flag = own_config(tmp_path, "augment", "trap: {_target_: traps.Trap}\n")
    words = small(images, tmp_path / "logs", "augment=mine", "trust=[traps]")
    with pytest.raises(ValueError, match="not the user's fault"):  # Python's exit code 1
        call(flag, *words, f"data.workers={workers}")


def test_the_traceback_is_there_for_those_who_want_it(tmp_path):
    with pytest.raises(ConfigError, match="sgd wants float, got 'fast'"):
        call("optimizer.lr=fast", f"paths.logs={tmp_path}", HYDRA_FULL_ERROR="1")
