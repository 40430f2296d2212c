"""Ensembles, several protocols and refusals of src/eval.py."""

import json
import shutil
from functools import partial

import eval_in_process
import numpy as np
import pytest
from entry import record
from torch import nn

from deeper import checkpoint
from deeper.evaluation.runner import Evaluator
from deeper.evaluation.unseen import require_evaluable, same_images
from deeper.files import file_digest
from deeper.models.cpu.max_pool import MaxPool
from deeper.runs import build

TINY = "model.width=0.125"


@pytest.fixture
def evaluate(tmp_path):
    """`evaluate("run=…")` runs src/eval.py in this process and returns what it wrote."""
    return partial(eval_in_process.evaluate, tmp_path)


def test_two_networks_by_two_protocols(train, evaluate, tmp_path, monkeypatch, capsys):
    one, two = train(TINY, "test=false"), train("model.width=0.25", "seed=1", "test=false")
    passes, pools = [], set()
    loader = Evaluator.val_dataloader

    def seen(self):
        passes.append(self.crops)
        pools.add(type(self.net.net.pool3))
        return loader(self)

    monkeypatch.setattr(Evaluator, "val_dataloader", seen)
    alone = evaluate(f"run={one}", "protocol=ten")
    files = f"files=['{one}','{two}/checkpoints/best.ckpt']"
    found = evaluate(files, "protocols=[single,ten]")
    assert pools == {MaxPool} if shutil.which("c++") else {nn.MaxPool2d}
    assert passes == [10, 1, 1, 10]  # the first network's ten crops came from the cache
    assert [(row["models"], row["crops"]) for row in found["rows"]] == [
        (1, 1), (1, 10), (1, 1), (1, 10), (2, 1), (2, 10)
    ]  # fmt: skip
    assert [*found["checkpoints"]] == [row["checkpoint"] for row in found["rows"][:4:2]]
    assert found["rows"][1]["nll"] == alone["rows"][0]["nll"]
    shown = " ".join(capsys.readouterr().out.split())
    assert "its gain" in shown
    assert "over these images, not over training seeds" in shown
    for run in (one, two):  # the screen names the files as they are called
        for file in (run / "eval").iterdir():
            assert f"written to {file}" in shown
            assert f"all are in {file.name}" in shown

    cached = {}
    for folder in (tmp_path / "c/probabilities").iterdir():
        about = json.loads((folder / "about.json").read_text())
        name = about["protocol"]["_target_"].rpartition(".")[2]
        cached[about["checkpoint"], name] = np.load(folder / "probabilities.npy")
    assert len(cached) == 4
    digests = [file_digest(run / "checkpoints/best.ckpt") for run in (one, two)]
    mean = np.mean([cached[digest, "Ten"] for digest in digests], axis=0, dtype=float)
    confusion = np.load(found["confusion"])
    assert confusion.sum(0).tolist() == np.bincount(mean.argmax(1), minlength=10).tolist()
    assert confusion.trace() == found["rows"][-1]["top1"] == 48 * found["results"]["test/top1"]

    for run in (one, two):
        written = sorted((run / "eval").iterdir())
        assert json.loads(written[-1].read_text())["rows"] == found["rows"]
    assert record(one)["test_looks"] == 2
    assert record(two)["test_looks"] == 1

    shutil.rmtree(two / "eval")
    (two / "eval").touch()  # as in a run that is not ours to write to
    evaluate(f"run={two}", "protocol=ten", "fusion=max")
    assert f"{two}: File exists, so no copy is written there" in " ".join(
        capsys.readouterr().out.split()
    )
    assert passes == [10, 1, 1, 10, 10]


def state(test_images="other", **data):
    about = {"root": "here", "val_from": "holdout", "holdout": 0.05} | data
    config = {"classes": ["ant", "bee"], "config": {"data": about}, "test_images": test_images}
    return {"deeper": config}


class Here:
    """As much of `ImageData` as the checks read."""

    root, val_from, holdout = "here", "holdout", 0.05

    def __init__(self):
        self.classes, self.tested = ["ant", "bee"], []

    def fingerprint(self, split):
        return f"here's {split}"

    def require_test(self, val_from):
        self.tested.append(val_from)


class Asked(dict):
    split, trainer, weights = "val", {}, "averaged"


def test_images_that_another_network_was_trained_on_are_refused():
    asked, data = Asked(), Here()
    require_evaluable(asked, {"a": state(), "b": state()}, data)
    with pytest.raises(ValueError, match=r"^b: trained with data.val_from=official data.holdout"):
        require_evaluable(asked, {"a": state(), "b": state(val_from="official")}, data)
    elsewhere = state(val_from="official", root="there")
    require_evaluable(asked, {"a": state(), "b": elsewhere}, data)
    asked.split = "test"
    require_evaluable(asked, {"a": state(), "b": state(val_from="official")}, data)
    assert data.tested == ["holdout", "official"]


def test_the_test_set_that_chose_is_refused_however_it_is_named(configs, images, tmp_path):
    """A trailing slash, a relative path, a link, a copy."""
    link, copy = tmp_path / "link", tmp_path / "copy"
    link.symlink_to(images)
    shutil.copytree(images, copy)
    named = (f"{images}/", f"{images}/../{images.name}", f"{link}", f"{copy}")
    data = {
        root: build.data(
            configs(f"data.root={root}", "data.val_from=official", f"paths.cache={tmp_path}/c")
        )
        for root in (str(images), *named)
    }
    trained = state(data[str(images)].fingerprint("test"), root=str(images), val_from="official")
    trained["deeper"]["classes"] = data[str(images)].classes
    asked = Asked()
    asked.split = "test"
    for root in (str(images), *named):
        with pytest.raises(ValueError, match=r"there is one official set, so it chooses"):
            require_evaluable(asked, {"a": trained}, data[root])
    file = next((copy / "val").rglob("*.*"))
    file.unlink()
    other = build.data(
        configs(f"data.root={copy}", "data.val_from=official", f"paths.cache={tmp_path}/d")
    )
    assert not same_images(trained, other)
    require_evaluable(asked, {"a": trained}, other)


def test_a_checkpoint_knows_its_test_set(configs, images, trained_run, tmp_path):
    carried = checkpoint.load_checkpoint(trained_run / "checkpoints/best.ckpt")["deeper"][
        "test_images"
    ]
    words = (f"data.root={images}", "debug=fast", f"paths.cache={tmp_path}")
    assert carried == build.data(configs(*words)).fingerprint("test")


def test_other_classes_are_named_with_their_file():
    other = state()
    other["deeper"]["classes"] = ["ant", "cat"]
    with pytest.raises(ValueError, match=r"^b: the checkpoint was .* at 1: 'cat' against 'bee'"):
        require_evaluable(Asked(), {"a": state(), "b": other}, Here())


def test_a_fraction_of_the_batches_is_no_evaluation():
    asked = Asked()
    asked.trainer = {"limit_val_batches": 3}
    with pytest.raises(ValueError, match=r"counts every image; data.limit=N takes fewer"):
        require_evaluable(asked, {"a": state()}, Here())


def test_the_fingerprint_of_the_test_set_knows_no_limit(configs, images, tmp_path):
    words = ["trainer=cpu", f"data.root={images}", f"paths.cache={tmp_path}", "paths.run=/r"]
    whole, limited = (
        build.data(configs(*words, f"data.limit={limit}")).fingerprint("test")
        for limit in ("null", 20)
    )
    assert whole == limited
