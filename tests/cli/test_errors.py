"""The messages for mistakes of users: exit 2, no traceback, nothing left behind."""

import shutil
from pathlib import Path

import pytest
from entry import call, run_dirs, shell, small

from deeper.data.images.encoded import SUFFIXES


def own_config(folder: Path, group: str, text: str) -> str:
    (folder / group).mkdir(parents=True)
    (folder / group / "mine.yaml").write_text(text)
    return f"--config-dir={folder}"


AT_COMPOSITION = {
    "a typo in a key": (
        ["model.head.dropuot=0.5"],
        "Could not override 'model.head.dropuot': no such key; did you mean 'dropout'?",
    ),
    "a typo in a group option": (
        ["experiment=no_auxx"],
        "experiment=no_auxx: no such option; did you mean 'no_aux'?",
    ),
    "a typo in a word in the middle": (
        ["optmizer.lr=0.1"],
        "Could not override 'optmizer.lr': no such key; did you mean 'optimizer'?",
    ),
    "an option of two words run together": (
        ["experiment=noaux"],
        "experiment=noaux: no such option; did you mean 'no_aux'?",
    ),
    "a precision that is none": (
        ["precision=bf17"],
        "Invalid value 'bf17', expected one of [auto,",
    ),
    "a wrong type": (
        ["seed=fast"],
        "Error merging override seed=fast\nValue 'fast' of type 'str' could not be converted to Integer",
    ),
}


@pytest.mark.parametrize("name", AT_COMPOSITION)
def test_refused_at_composition(refused, name, tmp_path):
    words, message = AT_COMPOSITION[name]
    assert message in refused(*words, f"paths.logs={tmp_path}")
    assert list(tmp_path.iterdir()) == []


def test_a_typo_in_a_file_at_top_level_names_the_file(refused, tmp_path):
    flag = own_config(tmp_path, "recipe", "# @package _global_\nsed: 3\n")
    message = refused(flag, "recipe=mine")
    assert message.startswith("In 'recipe/mine': ConfigKeyError raised while composing config:")
    assert "Key 'sed' not in 'Train'" in message


def test_a_file_that_is_not_yaml_is_named_with_its_line(refused, tmp_path):
    flag = own_config(tmp_path, "recipe", "# @package _global_\nseed: 3\nname: [a, b\nepochs: 1\n")
    message = refused(flag, "recipe=mine")
    assert message.startswith(f"{tmp_path}/recipe/mine.yaml, line 4: not YAML: ")


def test_logs_that_cannot_be_made(refused, tmp_path):
    (tmp_path / "file").touch()
    message = refused(f"paths.logs={tmp_path}/file")
    assert message.startswith(f"cannot make {tmp_path}/file/train/runs")
    assert "Not a directory; pass paths.logs=<a folder that can be written>" in message


def test_a_name_that_is_too_long(refused, tmp_path):
    message = refused(f"name={'a' * 300}", f"paths.logs={tmp_path}")
    assert "File name too long; pass paths.logs=" in message


def test_a_resumed_run_that_is_none_is_said_in_our_words(refused):
    assert refused("resume=/nowhere") == (
        "/nowhere: no such run directory; `ls -d logs/train/runs/*` lists yours"
    )


def test_a_refused_multirun_leaves_nothing(refused, images, tmp_path):
    refused("-m", "lr=0.1,-1", *small(images, tmp_path))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


BY_CHECK = {
    "a typo in a nested key of a recipe": (
        "# @package _global_\noptimizer:\n  momentm: 0.8\nscales: {small: {epochs: 1, batch_size: 8, lr: 0.1}}\n",
        [],
        ["optimizer.momentm: sgd has no such argument; did you mean 'momentum'?"],
    ),
    "two recipes": (
        None,
        ["recipe=[paper,modern]"],
        ["recipe=[paper,modern]: choose one recipe"],
    ),
    "a dot for a slash": (
        None,
        ["model.norm=bn", "model.head=fc"],
        [
            "model.norm=bn: did you mean model/norm=bn?",
            "model.head=fc: did you mean model/head=fc?",
        ],
    ),
    "a string for a part": (
        None,
        ["model.norm=batchnorm"],
        ["model.norm=batchnorm: did you mean model/norm=bn|bn_slim|lrn|lrn_google|none?"],
    ),
    "a sweep without -m": (
        None,
        ["sweep=lr"],
        ["sweep=lr: lists the jobs of a multirun; pass -m too"],
    ),
    "numbers out of range": (
        None,
        [
            "epochs=0",
            "seed=-1",
            "data_seed=18446744073709551616",
            "trainer.accumulate_grad_batches=0",
            "lr=nan",
        ],
        [
            "epochs=0: must be at least 1",
            "trainer.accumulate_grad_batches=0: must be at least 1",
            "seed=-1: must lie in 0..2^63-1",
            "init_seed=-1: must lie in 0..2^63-1",
            "data_seed=18446744073709551616: must lie in 0..2^63-1",
            "optimizer: lr=nan: must be above 0",
        ],
    ),
    "arguments that are never read": (
        None,
        ["+trainer.precision=16-mixed", "+model.num_classes=5"],
        [
            "model.num_classes: the program passes this argument itself; the data set has a number "
            "of classes",
            "trainer.precision: the program passes this argument itself; pass precision=",
        ],
    ),
    "metrics that no run has": (
        None,
        ["objective=val/acc", "callbacks=early_stopping", "callbacks.early_stopping.monitor=nope"],
        [
            "objective=val/acc: no such metric; choose from val/loss, val/top1, val/top5, test/loss, "
            "test/top1, test/top5",
            "callbacks.early_stopping.monitor=nope: no such metric; choose from val/loss, val/top1, "
            "val/top5",
        ],
    ),
    "a package that is not there": (
        None,
        ["+callbacks.mine={_target_: torch.nothing.There}"],
        [
            "callbacks.mine._target_: cannot import 'torch.nothing.There' (module 'torch' has no "
            "attribute 'nothing')"
        ],
    ),
    "a wrong type below a group": (
        None,
        ["optimizer.lr=fast"],
        ["optimizer.lr: sgd wants float, got 'fast'"],
    ),
    "an unknown string choice": (
        None,
        ["model.widths=table2"],
        ["model.widths: GoogLeNet wants 'table1' | 'inception5h', got 'table2'"],
    ),
    "a required value that is not set": (
        None,
        ["data=folder", "data.root=???"],
        ["data.root: required; pass data.root=<value>"],
    ),
    "a value out of range": (
        None,
        ["model.head.dropout=1.5"],
        ["model: dropout=1.5: must lie in 0..1 (1 excluded)"],
    ),
    "several at once": (
        None,
        ["optimizer.lr=fast", "+model.hed=1", "loss.aux_weight=-1", "precision=fp16"],
        [
            "model.hed: GoogLeNet has no such argument; did you mean 'head'?",
            "optimizer.lr: sgd wants float, got 'fast'",
            "precision=fp16 needs a CUDA GPU; on CPU these work: precision=fp32, precision=bf16, "
            "precision=auto",
            "loss: aux_weight=-1: weights must be at least 0",
        ],
    ),
    "values that only their owners can judge": (
        None,
        [
            "optimizer.lr=-1",
            "scheduler.warmup_epochs=-2",
            "data.batch_size=0",
            "objective=val/loss",
            "loss.aux_weight={incepton4a: 0.3}",
        ],
        [
            "objective=val/loss is better when it is lower: pass direction=minimize too",
            "loss.aux_weight.incepton4a: no stage has this name; did you mean 'inception4a'?",
            "loss.aux_weight: has no weight for the head at inception4a",
            "loss.aux_weight: has no weight for the head at inception4d",
            "optimizer: lr=-1: must be above 0",
            "scheduler: warmup_epochs=-2: must be at least 0",
            "data: image_size, batch_size and eval_batch_size must be at least 1",
        ],
    ),
    "a callback that is none": (
        None,
        ["+callbacks.mine={patience: 3}"],
        ["callbacks.mine: has no _target_; remove it with ~callbacks.mine"],
    ),
    "an experiment that changes nothing": (
        None,
        ["experiment=no_lrn"],
        [
            "experiment=no_lrn needs model/norm=lrn|lrn_google, but recipe=baseline has model/norm=bn; "
            "it applies to recipe=paper"
        ],
    ),
    "images too small": (
        None,
        ["data.image_size=66"],
        [
            "model: image_size=66 is too small for the auxiliary head at inception4a behind stem "
            "'imagenet'; the smallest that works is 79: data.image_size=79 or model.stem=small or "
            "model/aux=none"
        ],
    ),
    "a target that is not trusted": (
        None,
        ["+callbacks.evil={_target_: os.system, command: ls}"],
        [
            "callbacks.evil: _target_ 'os.system' is not trusted (here a class of kind Callback from "
            "torch, torchvision, torchmetrics, lightning, timm is); if you know what it does, add it "
            "to `targets:` (or its package to `packages:`) in configs/trusted.yaml"
        ],
    ),
    "SyncBN on CPU": (
        None,
        ["trainer.sync_batchnorm=true"],
        [
            "trainer.sync_batchnorm: needs CUDA GPUs; on CPU leave it false (each process keeps "
            "statistics of its own)"
        ],
    ),
}


@pytest.mark.parametrize("name", BY_CHECK)
def test_refused_by_check(refused, name, images, tmp_path):
    recipe, words, lines = BY_CHECK[name]
    if recipe:
        words = [own_config(tmp_path / "configs", "recipe", recipe), "recipe=mine", *words]
    logs = tmp_path / "logs"
    root = [] if any(w.startswith("data.root") for w in words) else [f"data.root={images}"]
    message = refused(*words, *root, f"paths.logs={logs}", "trainer=cpu")
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    assert message == f"{count} in the configuration:\n" + "\n".join(f"  {line}" for line in lines)
    assert not run_dirs(logs)
    assert not [path for path in logs.rglob("*") if path.is_file()]


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


def test_a_checkpoint_of_other_classes(refused, train, images, tmp_path):
    run = train("model.width=0.125")
    other = tmp_path / "other"
    shutil.copytree(images, other)
    for split in ("train", "val"):
        (other / split / "bricks_amber").rename(other / split / "zebra")
    message = refused(f"run={run}", f"data.root={other}", "trainer=cpu", script="eval")
    assert message == (
        "the checkpoint was trained on 10 classes, the data has 10, first at 0: 'bricks_amber' against "
        "'bricks_azure'; evaluate on data of the same classes, or train anew"
    )


@pytest.mark.parametrize(
    ("words", "script", "message"),
    [
        (
            [],
            "eval",
            "say which network: run=<run directory> for its best checkpoint, or ckpt=<file>",
        ),
        (
            ["ckpt=/nowhere.ckpt"],
            "eval",
            "/nowhere.ckpt: no such checkpoint file; `ls logs/train/runs/*/checkpoints/*.ckpt` lists yours",
        ),
        (
            ["run=/nowhere"],
            "eval",
            "/nowhere: no such run directory; `ls -d logs/train/runs/*` lists yours",
        ),
    ],
)
def test_evaluating_nothing(refused, words, script, message, tmp_path):
    assert refused(*words, f"paths.logs={tmp_path}", script=script) == message


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


def test_a_multirun_is_checked_before_its_first_job(refused, images, tmp_path):
    message = refused("-m", "optimizer.lr=0.1,-1,-2", *small(images, tmp_path))
    assert message.startswith("2 problems in the configuration:\n  job 1 (optimizer.lr=-1 ")
    assert message.endswith("optimizer: lr=-2: must be above 0")
    assert not run_dirs(tmp_path)


def test_a_multirun_with_ddp(refused, images, tmp_path):
    message = refused("-m", "seed=0,1", "trainer=ddp_cpu", *small(images, tmp_path))
    assert "with -m each rank of a DDP trainer would start the whole sweep again" in message
    assert not run_dirs(tmp_path)


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
    (tmp_path / "trusted.yaml").write_text("packages: [traps]\n")
    monkeypatch.syspath_prepend(tmp_path)
    flag = own_config(tmp_path, "augment", "trap: {_target_: traps.Trap}\n")
    with pytest.raises(ValueError, match="not the user's fault"):  # Python's exit code 1
        call(flag, *small(images, tmp_path / "logs", "augment=mine"), f"data.workers={workers}")


def test_the_traceback_is_there_for_those_who_want_it():
    result = shell("optimizer.lr=fast", HYDRA_FULL_ERROR="1")
    assert result.returncode != 0
    assert "Traceback" in result.stderr
