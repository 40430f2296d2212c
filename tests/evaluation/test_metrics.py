"""Counts against counting by hand, intervals against a table, calibration against a loop."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from deeper.data.images.stored import FileImages
from deeper.data.splits import Subset
from deeper.evaluation import imagenet_real as real
from deeper.evaluation import table3 as ensemble
from deeper.evaluation import tables as evaluation
from deeper.evaluation.cache import Kept, averaged, sampled
from deeper.evaluation.metrics import calibration_error, counted, gain_interval, wilson


def random(n=200, classes=12, seed=0):
    torch.manual_seed(seed)
    labels = np.random.default_rng(seed).integers(0, classes, n)
    return torch.randn(n, classes).softmax(1).numpy(), labels


def test_against_brute_force():
    p, labels = random()
    found = counted([p[:64], p[64:]], labels)
    ranked = [sorted(range(12), key=lambda c, row=row: -row[c]) for row in p]
    assert found.n == 200
    assert found.top1 == sum(r[0] == y for r, y in zip(ranked, labels, strict=True))
    assert found.top5 == sum(y in r[:5] for r, y in zip(ranked, labels, strict=True))
    assert found.nll == pytest.approx(-np.log(p[np.arange(200), labels]).mean(), rel=1e-6)
    confusion = np.zeros((12, 12), int)
    for r, y in zip(ranked, labels, strict=True):
        confusion[y, r[0]] += 1
    assert np.array_equal(found.confusion, confusion)
    classes = found.classes([str(i) for i in range(12)])
    assert sum(row["top5"] for row in classes) == found.top5
    assert sum(row["top1"] for row in classes) == found.top1
    assert [row["n"] for row in classes] == np.bincount(labels, minlength=12).tolist()


def test_calibration_against_a_loop():
    p, labels = random()
    confidence, right = p.max(1).astype(float), p.argmax(1) == labels
    error = 0.0
    for low in range(15):
        inside = [low / 15 < c <= (low + 1) / 15 for c in confidence]
        if any(inside):
            error += abs(right[inside].mean() - confidence[inside].mean()) * sum(inside) / 200
    assert calibration_error(confidence, right) == pytest.approx(error, rel=1e-12)
    assert calibration_error(np.ones(4), np.ones(4, bool)) == 0


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)  # fmt: skip
def test_wilson(right, n, low, high):
    """The last are Newcombe's (1998), Table I."""
    assert wilson(right, n) == pytest.approx([low, high], abs=6e-5)


def test_the_mean_over_models_is_of_probabilities():
    models = [random(seed=i)[0] for i in range(7)]
    (found,) = averaged(models)
    assert np.allclose(found, sum(models) / 7)
    (backwards,) = averaged(models[::-1])
    assert np.abs(found - backwards).max() < 1e-15
    (alone,) = averaged(models[:1])
    assert np.array_equal(alone, models[0])


def test_what_is_kept_is_whole_and_of_these_labels(tmp_path):
    p, labels = random()
    kept = Kept(tmp_path, {"checkpoint": "a"})
    assert not kept.there(labels)
    kept.write(p, labels)
    assert kept.there(labels)
    assert not kept.there(labels[::-1])
    assert np.array_equal(kept.read(labels), p)
    assert sorted(f.name for f in kept.folder.iterdir()) == [
        "about.json", "labels.npy", "probabilities.npy"
    ]  # fmt: skip
    assert not Kept(tmp_path, {"checkpoint": "b"}).there(labels)
    with pytest.raises(ValueError, match="of other labels than the data has; remove the folder"):
        kept.read(labels[::-1])
    whole = (kept.folder / "probabilities.npy").read_bytes()
    (kept.folder / "probabilities.npy").write_bytes(whole[:-4])
    assert not kept.there(labels)
    with pytest.raises(ValueError, match="damaged"):
        kept.read(labels)


def test_a_replaced_picture_is_another_set(tmp_path):
    """Also one that is none of those whose pixels are looked at."""
    for name in "abc":
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    files = Subset(FileImages(tmp_path, ["a.png", "b.png", "c.png"], [0, 0, 0]), np.arange(3))
    before = sampled(files, 1)
    assert sampled(files, 1) == before
    Image.new("RGB", (4, 4), "red").save(tmp_path / "c.png")
    assert sampled(files, 1) != before


def test_a_cache_that_cannot_be_written_is_said_before_a_network_runs(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(
        ValueError, match=r"cache/probabilities: Not a directory; .* paths\.cache=<a"
    ):
        Kept.require_writable(tmp_path / "cache")
    Kept.require_writable(tmp_path / "other")
    assert not [*(tmp_path / "other/probabilities").iterdir()]


def labelled_anew(tmp_path, labels):
    path = tmp_path / "real.json"
    path.write_text(json.dumps(labels))
    return path


def test_real_counts_images_with_labels_by_their_numbers(tmp_path):
    path = labelled_anew(tmp_path, [[3], [], [1, 2], *[[0]] * 49_997])
    names = ["val/a/ILSVRC2012_val_00000003.JPEG", "ILSVRC2012_val_00000002_n01440764.JPEG",
             "b.tar:ILSVRC2012_val_00000001.JPEG", "val/ILSVRC2012_val_00000004.JPEG"]  # fmt: skip
    files = Subset(FileImages(tmp_path, names, [0] * 4), np.array([2, 1, 0, 3]))
    numbers = real.numbers(files)
    assert numbers == [1, 2, 3, 4]
    labels = real.read(path, 4)
    found = real.results(np.array([3, 0, 2, 1]), labels, numbers)
    assert (found["n"], found["top1"]) == (3, 2)


def test_real_refuses_other_files_and_other_images(tmp_path):
    with pytest.raises(ValueError, match=r"expected 50,000 lists of labels in 0\.\.9"):
        real.read(labelled_anew(tmp_path, [[1]]), 10)
    with pytest.raises(ValueError, match="cannot be read as JSON"):
        real.read(tmp_path / "none.json", 10)
    with pytest.raises(ValueError, match=r"photo\.jpg is none of them"):
        real.numbers(FileImages(tmp_path, ["photo.jpg"], [0]))


def test_the_papers_table_stands_beside_ours():
    rows = [
        {
            "models": m,
            "crops": c,
            "top1": 700,
            "top5": 900 + m + c // 10,
            "n": 1000,
            "gain_interval": [-0.004, 0.002],
        }
        for m in (1, 7)
        for c in (1, 10, 144)
    ]
    found = ensemble.lines(rows)
    assert [line[5] for line in found] == ["10.07", "9.15", "7.89", "8.09", "7.62", "6.67"]
    assert [line[6] for line in found] == ["base", "-0.92", "-2.18", "-1.98", "-2.45", "-3.40"]
    assert [line[2:5] for line in found][:2] == [
        ["30.00", "9.90", "base"],
        ["30.00", "9.80", "-0.10 (-0.4…+0.2)"],
    ]
    assert ensemble.lines([{"models": 2, "crops": 1, "top1": 7, "top5": 9, "n": 10}])[0][5:] == [
        "",
        "",
    ]


def test_a_gain_has_the_interval_of_its_differences_image_by_image():
    rows = np.random.default_rng(0).dirichlet(np.ones(12), size=400)
    other = np.random.default_rng(1).dirichlet(np.ones(12), size=400)
    labels = np.arange(400) % 12
    before, after = (counted([part], labels) for part in (rows, 0.5 * (rows + other)))
    right = [np.argsort(-p, 1)[:, :5] == labels[:, None] for p in (rows, 0.5 * (rows + other))]
    change = right[0].any(1).astype(float) - right[1].any(1)
    low, high = gain_interval(before, after)
    assert (low + high) / 2 == pytest.approx(change.mean())
    assert (high - low) / 2 == pytest.approx(1.96 * change.std() / 20, rel=1e-4)
    assert gain_interval(before, before) == [0, 0]


def test_the_worst_classes_stand_first_with_what_they_were_taken_for():
    guesses = [0, 1, 1, 2, 2, 0, 1]
    counts = counted([np.eye(4)[guesses]], np.array([0, 0, 0, 2, 2, 2, 1]))
    shown = evaluation.worst(counts, ["n01440764", "b", "c[/]\n", "never"], most=3)
    assert shown == [
        ["tench", "3", "33.3", "100.0", "b, 2"],
        ["c[/]\\n", "3", "66.7", "100.0", "tench, 1"],
        ["b", "1", "100.0", "100.0", ""],
    ]
    assert evaluation.summary(counts)[:2] == ["7", "57.14 (25.0–84.2)"]


def test_markup_in_the_name_of_a_class_is_no_markup(capsys):
    counts = counted([np.eye(2)[[0, 1]]], np.array([0, 1]))
    evaluation.show(counts, ["[red]", "[/red]"], "val", "a [title]")
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("[red]", "[/red]", "a [title]"))
