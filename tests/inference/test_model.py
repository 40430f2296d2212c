"""A network out of its checkpoint answers as it did where it was evaluated."""

import shutil

import pytest
import torch
from eval_in_process import evaluate
from PIL import Image

import deeper
from deeper import checkpoint
from deeper.data.images.encoded import Encoded


def test_it_counts_as_eval_does(images, trained_run, tmp_path):
    run = shutil.copytree(trained_run, tmp_path / "run")
    evaluated = evaluate(tmp_path, f"run={run}", "data.limit=1000")["results"]
    trained = deeper.load(trained_run)
    files = sorted((images / "val").rglob("*.*"))
    labels = torch.tensor([trained.classes.index(file.parent.name) for file in files])
    found = trained.probabilities(Encoded(file.read_bytes(), file.name) for file in files)
    assert len(files) == evaluated["test/n"] == 50
    assert found.shape == (50, 10)
    best = found.topk(5).indices == labels[:, None]
    assert best[:, 0].sum().item() == round(50 * evaluated["test/top1"])
    assert best.any(1).sum().item() == round(50 * evaluated["test/top5"])
    loss = -found.gather(1, labels[:, None]).log().mean().item()
    assert loss == pytest.approx(evaluated["test/loss"], abs=1e-4)
    assert best.any(1).sum().item() > 5


def test_a_checkpoint_file_and_its_run_are_the_same_network(trained_run):
    file = trained_run / "checkpoints/best.ckpt"
    one, other = deeper.load(trained_run), deeper.load(file)
    assert one.path == other.path == file
    assert not one.net.training
    for key, value in one.net.state_dict().items():
        assert torch.equal(value, other.net.state_dict()[key]), key


def test_repr_is_short_and_names_the_method_to_call(trained_run):
    text = repr(deeper.load(trained_run))
    assert ".probabilities(images)" in text
    assert "10 classes" in text
    assert len(text) < 300


def test_paths_single_images_and_grey_images_are_accepted(images, trained_run):
    trained = deeper.load(trained_run)
    file = next((images / "val").rglob("*.*"))
    expected = trained.probabilities([Image.open(file)])
    assert torch.equal(trained.probabilities(str(file)), expected)
    assert torch.equal(trained.probabilities([file]), expected)
    assert torch.equal(trained.probabilities(Image.open(file)), expected)
    grey = Image.open(file).convert("L")
    assert torch.equal(trained.probabilities(grey), trained.probabilities(grey.convert("RGB")))
    with pytest.raises(TypeError, match=r"expected paths or PIL images, not Tensor; PIL\.Image"):
        trained.probabilities(torch.zeros(3, 8, 8, dtype=torch.uint8))


def test_no_images_and_images_of_floats(trained_run):
    trained = deeper.load(trained_run)
    assert trained.probabilities([]).shape == (0, len(trained.classes))
    with pytest.raises(TypeError, match=r"^expected uint8 images in 0\.\.255, not torch\.float32$"):
        trained(torch.zeros(1, 3, 32, 32))


def test_averaged_weights_with_stale_statistics_are_refused(trained_run, tmp_path):
    file = tmp_path / "run/checkpoints/last.ckpt"
    state = checkpoint.load_checkpoint(trained_run / "checkpoints/last.ckpt")
    checkpoint.save_checkpoint(state | {"averaged_statistics": "stale"}, file)
    with pytest.raises(ValueError, match=r"last.ckpt: was saved between validations.*weights=live"):
        deeper.load(file)
    assert deeper.load(file, "live").weights == "live"
    checkpoint.save_checkpoint(state | {"averaged_statistics": "current"}, file)
    deeper.load(file)
