"""Counts against counting by hand, intervals against a table, calibration against a loop."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from deeper.data.images.stored import FileImages
from deeper.data.splits import Subset
from deeper.evaluation import tables
from deeper.evaluation.cache import CachedProbabilities, averaged, files_digest
from deeper.evaluation.imagenet_real import real_counts, real_labels
from deeper.evaluation.metrics import (
    calibration_error,
    compute_metrics,
    difference_interval,
    wilson,
)


def random(n=200, classes=12, seed=0):
    torch.manual_seed(seed)
    labels = np.random.default_rng(seed).integers(0, classes, n)
    return torch.randn(n, classes).softmax(1).numpy(), labels


def test_against_brute_force():
    p, labels = random()
    found = compute_metrics(p, labels)
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
    found = averaged(models)
    assert np.allclose(found, sum(models) / 7)
    assert np.abs(found - averaged(models[::-1])).max() < 1e-15
    assert np.array_equal(averaged(models[:1]), models[0])


def test_cached_probabilities_are_whole_or_absent(tmp_path):
    p, _ = random()
    cached = CachedProbabilities(tmp_path, {"checkpoint": "a"})
    assert not cached.exists()
    cached.prepare()
    cached.write(torch.from_numpy(p))
    assert cached.exists()
    assert np.array_equal(cached.read(), p)
    assert sorted(f.name for f in cached.folder.iterdir()) == ["about.json", "probabilities.npy"]
    assert not CachedProbabilities(tmp_path, {"checkpoint": "b"}).exists()
    file = cached.folder / "probabilities.npy"
    file.write_bytes(file.read_bytes()[:-4])
    assert not cached.exists()


def test_a_replaced_image_is_another_set(tmp_path):
    for name in "abc":
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    files = Subset(FileImages(tmp_path, ["a.png", "b.png", "c.png"], [0, 0, 0]), np.arange(3))
    before = files_digest(files)
    assert files_digest(files) == before
    Image.new("RGB", (4, 4), "red").save(tmp_path / "c.png")
    assert files_digest(files) != before


def test_a_cache_that_cannot_be_written_is_said_before_a_network_runs(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ValueError, match=r"cache/probabilities/.*: Not a dir.* paths\.cache=<a"):
        CachedProbabilities(tmp_path / "cache", {}).prepare()


def real_json(tmp_path, labels):
    path = tmp_path / "real.json"
    path.write_text(json.dumps(labels))
    return path


def test_real_counts_images_with_labels_by_their_numbers(tmp_path):
    path = real_json(tmp_path, [[3], [], [1, 2], *[[0]] * 49_997])
    names = ["val/a/ILSVRC2012_val_00000003.JPEG", "ILSVRC2012_val_00000002_n01440764.JPEG",
             "b.tar:ILSVRC2012_val_00000001.JPEG", "val/ILSVRC2012_val_00000004.JPEG"]  # fmt: skip
    files = Subset(FileImages(tmp_path, names, [0] * 4), np.array([2, 1, 0, 3]))
    real = real_labels(str(path), files, 4)
    assert real == [[3], [], [1, 2], [0]]
    found = real_counts(real, np.array([3, 0, 2, -1]))
    assert (found["n"], found["top1"]) == (3, 2)


def test_real_refuses_other_files_and_other_images(tmp_path):
    photo = FileImages(tmp_path, ["photo.jpg"], [0])
    for labels, message in (
        ([[1]], r"expected 50,000 lists of labels in 0\.\.9"),
        ([[10]] * 50_000, r"expected 50,000 lists of labels in 0\.\.9"),
        ({"a": 1}, r"expected 50,000 lists"),
        ([1] * 50_000, "cannot be read"),
        ([[0]] * 50_000, r"photo\.jpg is none of them"),
    ):
        with pytest.raises(ValueError, match=message):
            real_labels(str(real_json(tmp_path, labels)), photo, 10)
    with pytest.raises(ValueError, match="cannot be read"):
        real_labels(str(tmp_path / "none.json"), photo, 10)


def test_the_papers_table_stands_beside_ours():
    rows = [
        {
            "models": m,
            "crops": c,
            "top1": 700 + m,
            "top5": 900 + m + c // 10,
            "n": 1000,
            "top1_gain_interval": [-0.005, 0.003],
            "top5_gain_interval": [-0.004, 0.002],
        }
        for m in (1, 7)
        for c in (1, 10, 144)
    ]
    found = tables.table3(rows)
    assert [line[6] for line in found] == ["10.07", "9.15", "7.89", "8.09", "7.62", "6.67"]
    assert [line[7] for line in found] == ["base", "-0.92", "-2.18", "-1.98", "-2.45", "-3.40"]
    assert found[0][2:6] == ["29.90", "base", "9.90", "base"]
    assert found[4][2:6] == ["29.30", "-0.60 (-0.5…+0.3)", "9.20", "-0.70 (-0.4…+0.2)"]
    (alone,) = tables.table3([{"models": 2, "crops": 1, "top1": 7, "top5": 9, "n": 10}])
    assert alone[6:] == ["", ""]


def test_the_interval_of_a_difference_is_agresti_and_mins():
    """8 of 100 images became right and 2 wrong: counts of 8.5 and 2.5 among 102."""
    before, after = np.zeros(100, bool), np.zeros(100, bool)
    before[:32] = True
    after[2:40] = True
    low, high = difference_interval(before, after)
    assert (low + high) / 2 == pytest.approx(-6 / 102)
    half = 1.959964 * np.sqrt(11 - 36 / 102) / 102
    assert (high - low) / 2 == pytest.approx(half, rel=1e-6)


def test_the_interval_of_a_difference_never_collapses():
    right = np.ones(50, bool)
    low, high = difference_interval(right, right)
    assert (low, high) == pytest.approx((-1.959964 / 52, 1.959964 / 52), rel=1e-6)
    assert difference_interval(~right, right)[0] == -1


@pytest.mark.parametrize(("n", "p"), [(50, 0.02), (600, 0.05)])
def test_the_interval_of_a_difference_covers(n, p):
    """95 % by simulation, where few images differ."""
    random, hits = np.random.default_rng(0), 0
    for _ in range(1000):
        before, flips = random.random(n) < 0.8, random.random(n)
        after = np.where(flips < p, True, np.where(flips < 2 * p, False, before))
        truth = p * 0.8 - p * 0.2
        low, high = difference_interval(before, after)
        hits += low <= truth <= high
    assert hits >= 930


def test_non_finite_probabilities_count_as_wrong():
    """Also where the label is class 0, which the index of a row of NaN would be."""
    p = np.full((3, 6), 1 / 6, np.float32)
    p[0], p[1, 3] = np.nan, np.inf
    p[2] = [0.5, 0.1, 0.1, 0.1, 0.1, 0.1]
    found = compute_metrics(p, np.array([0, 3, 0]))
    assert (found.top1, found.top5, found.non_finite) == (1, 1, 2)
    assert found.best.tolist() == [-1, -1, 0]
    assert found.class_n.tolist() == [2, 0, 0, 1, 0, 0]
    assert found.confusion.sum() == 1
    assert np.isfinite([found.nll, found.ece]).all()
    assert found.counts()["non_finite"] == 2


def shown(metrics, classes, title, capsys):
    content = {"checkpoints": {title: "live"}, "rows": [{}], "split": "val"}
    tables.show_evaluation(content, metrics, classes, "x.json")
    return capsys.readouterr().out


def test_non_finite_outputs_are_said(capsys):
    found = compute_metrics(np.full((3, 6), np.nan), np.array([0, 3, 0]))
    text = shown(found, [*"abcdef"], "title", capsys)
    assert "3 images have non-finite outputs; they count as wrong" in text


def test_the_worst_classes_stand_first_with_what_they_were_predicted_as():
    guesses = [0, 1, 1, 2, 2, 0, 1]
    counts = compute_metrics(np.eye(4)[guesses], np.array([0, 0, 0, 2, 2, 2, 1]))
    found = tables.worst_classes(counts, ["n01440764", "b", "c[/]\n", "never"], most=3)
    assert found == [
        ["tench", "3", "33.3", "100.0", "b, 2"],
        ["c[/]\\n", "3", "66.7", "100.0", "tench, 1"],
        ["b", "1", "100.0", "100.0", ""],
    ]
    assert tables.overall(counts)[:2] == ["7", "57.14 (25.0–84.2)"]


def test_markup_in_the_name_of_a_class_is_no_markup(capsys):
    counts = compute_metrics(np.eye(2)[[0, 1]], np.array([0, 1]))
    text = shown(counts, ["[red]", "[/red]"], "a [title]", capsys)
    assert all(name in text for name in ("[red]", "[/red]", "a [title]"))
