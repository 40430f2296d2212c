"""From data to pictures: of a study, of a run and of a network."""

import numpy as np
import pytest
import torch

import deeper
from deeper.figures import confusion, curves, filters, forest, gradients, saliency

ARM = {
    "experiment": "no_aux", "difference": -0.01, "low": -0.03, "high": 0.01, "pairs": 5, "margin": None,
    "claim": "relatively minor", "claimed_direction": "lower", "claimed_size": 0.005, "verdict": "holds",
}  # fmt: skip
UNCLAIMED = dict.fromkeys(("claim", "claimed_direction", "claimed_size", "verdict", "low", "high"))


def test_the_forest_has_a_row_for_each_difference():
    arms = [
        ARM | {"experiment": "baseline", "difference": None},
        ARM,
        ARM | UNCLAIMED | {"experiment": "head_fc+no_dropout", "pairs": 1},
    ]
    picture = forest.draw({"metric": "test/top1", "arms": arms})
    (axes,) = picture.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "no_aux",
        "head_fc + no_dropout",
    ]
    for text in ("5 seeds · holds", "relatively minor", "1 seed<", "in points"):
        assert text in picture.svg()
    (interval,) = [line for line in axes.collections if "LineCollection" in str(line)]
    assert interval.get_segments()[0][:, 0].tolist() == pytest.approx([-3, 1])


def test_a_forest_of_nothing_is_empty():
    assert forest.draw({"metric": "test/loss", "arms": []}).axes[0].get_yticks().size == 0


def test_curves_of_a_run_have_a_panel_for_what_was_logged():
    rows = [
        {"step": 10, "train/loss": 3.0, "train/loss_main": 2.0, "train/loss_aux/inception4a": 2.5},
        {"step": 20, "train/loss": 2.0, "train/loss_main": None, "optim/lr": 0.1},
        {"step": 20, "val/loss": 1.0, "val/top1": 0.5},
    ]
    panels = curves.of_run(rows)
    assert {title: [*lines] for title, lines in panels.items()} == {
        "loss": ["train/loss_main", "train/loss_aux/inception4a", "val/loss"],
        "accuracy": ["val/top1"],
        "learning rate": ["optim/lr"],
    }
    svg = curves.draw(panels).svg()
    assert all(name in svg for name in (*panels, "train/loss_aux/inception4a"))


def test_a_curve_is_the_mean_up_to_the_shortest_run():
    picture = curves.draw(
        {"val/top1": {"no_aux": [([1, 2], [0.2, 0.4]), ([1, 2, 3], [0.4, 0.8, 0.9])]}}
    )
    (line,) = picture.axes[0].lines
    assert line.get_xydata().tolist() == pytest.approx(np.array([[1, 0.3], [2, 0.6]]))


def test_confusion_in_percent_of_a_row():
    picture = confusion.draw(np.array([[3, 1], [0, 0]]), ["a$b$", "c"])
    assert [text.get_text() for text in picture.axes[0].texts] == ["75", "25", "0", "0"]
    assert "a$b$" in picture.svg()


@pytest.mark.parametrize("number", [5, 40])
def test_filters_lie_on_a_sheet(number):
    weights = np.random.default_rng(0).normal(size=(number, 3, 7, 7))
    picture = filters.draw({"conv1": weights})
    sheet = picture.axes[0].images[0].get_array()
    assert sheet.shape == (8 * -(-number // 16) + 1, 8 * min(number, 16) + 1, 3)
    assert (sheet.min(), sheet.max()) == pytest.approx((0, 1), abs=0.2)


def test_heads_add_to_the_gradient_up_to_the_last_one(images, tmp_path):
    words = ["recipe=paper", "model.width=0.125", "batch_size=4", "data.workers=0"]
    cfg = deeper.compose(*words, f"data.root={images}", f"paths.cache={tmp_path}")
    norms = gradients.measure(cfg)
    main, aux, both = (norms[name] for name in (gradients.MAIN, gradients.AUX, gradients.ALL))
    assert aux["inception4d"] > 0 == aux["inception4e"]
    assert main["inception4e"] == pytest.approx(both["inception4e"])
    assert abs(main["conv1"] - aux["conv1"]) <= both["conv1"] <= main["conv1"] + aux["conv1"]
    assert "conv2_reduce" in gradients.draw({"recipe=paper": norms}).svg()


def test_a_heat_map_is_of_the_class_that_is_asked_for(trained_run):
    pytest.importorskip("captum")
    trained = deeper.load(trained_run)
    size = trained.image_size
    pixels = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    one, other = (saliency.heat_maps(trained, pixels, [label] * 2) for label in (0, 1))
    assert one.shape[0] == 2
    assert (one.min(), one.max()) == (0, 1)
    assert not np.array_equal(one, other)
    picture = saliency.draw(pixels.movedim(1, 3).numpy(), {"for it": one}, ["a", "$b$"])
    assert [axes.get_title() for axes in picture.axes[:2]] == ["a", "$b$"]
