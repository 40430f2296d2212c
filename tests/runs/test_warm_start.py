"""model.pretrained: a training from a checkpoint's weights, or from a file of somebody else's."""

import shutil
from urllib.error import URLError

import pytest
import torch
import torchvision
from entry import call, shell

import deeper
from deeper import checkpoint
from deeper.models.pretrained import published, weights_file
from deeper.runs import warm_start

SMALL = ["data=folder", "data.image_size=32", "model.width=0.125", "data.limit=20"]


@pytest.fixture(scope="module")
def halves(images, tmp_path_factory):
    """Two data sets of five classes each."""
    roots = [tmp_path_factory.mktemp("halves") / name for name in ("first", "second")]
    for split in (images / "train", images / "val"):
        for n, folder in enumerate(sorted(p for p in split.iterdir() if p.is_dir())):
            shutil.copytree(folder, roots[n % 2] / split.name / folder.name)
    return roots


@pytest.fixture
def made(configs, tmp_path):
    """A checkpoint that answers about a to e, without a training."""
    cfg = configs(*SMALL, "data.root=/nowhere", f"paths.run={tmp_path}")
    path = tmp_path / "made.ckpt"
    checkpoint.save_checkpoint(warm_start.initial_checkpoint(cfg, "abcde"), path)
    return path


def net_state(path):
    return checkpoint.network_state(checkpoint.load_checkpoint(path))


def started(configs, path, classes, *words):
    """The network of another seed, begun with the weights of `path`."""
    words = [
        w for w in SMALL if not any(w.partition("=")[0] == o.partition("=")[0] for o in words)
    ] + [*words]
    cfg = configs(
        *words, "seed=1", "data.root=/nowhere", "paths.run=/nowhere", f"model.pretrained={path}"
    )
    return checkpoint.network_state(warm_start.initial_checkpoint(cfg, classes))


def test_from_five_classes_to_five_others(train, halves, capsys):
    """At a rate of nothing the trunk stays what it was, so it shows where it came from."""
    first = train(*SMALL, f"data.root={halves[0]}")
    file = first / "checkpoints/best.ckpt"
    words = [*SMALL, "optimizer.lr=1e-30", "seed=1", f"model.pretrained={file}"]
    words.append("resume=auto")  # as every job of a multirun has it
    run = train(*words, f"data.root={halves[1]}")
    assert f"weights of {file}\n  new for 5 classes: aux, head\n" in capsys.readouterr().out
    before, after = net_state(file), net_state(run / "checkpoints/last.ckpt")
    assert deeper.load(first).classes != deeper.load(run).classes
    for name, value in before.items():
        if name.endswith(".conv.weight") and not name.startswith("aux"):
            assert torch.equal(after[name], value), name
    assert not torch.equal(after["head.classifier.weight"], before["head.classifier.weight"])
    file.unlink()
    deeper.load(run)  # needs no file but its own
    assert call(f"resume={run}", "epochs=2", "trainer.max_epochs=2").returncode == 0


def test_the_same_classes_keep_the_whole_network(configs, made):
    before, after = net_state(made), started(configs, made, "abcde")
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_run_means_its_best_checkpoint(configs, made, tmp_path):
    with pytest.raises(ValueError, match=r"not a run directory: it holds no run.json"):
        started(configs, tmp_path, "abcde")
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match=r"holds no checkpoints/best.ckpt"):
        started(configs, tmp_path, "abcde")
    (tmp_path / "checkpoints").mkdir()
    made.rename(tmp_path / "checkpoints/best.ckpt")
    after = started(configs, tmp_path, "abcde")
    before = net_state(tmp_path / "checkpoints/best.ckpt")
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("classes", ["abcdx", "abc"])
def test_other_classes_keep_the_trunk(configs, made, classes):
    before, after = net_state(made), started(configs, made, classes)
    for name, value in before.items():
        if not name.startswith(("aux", "head")):
            assert torch.equal(after[name], value), name
    assert after["head.classifier.weight"].shape[0] == len(classes)


def test_another_head_is_no_hindrance_for_other_classes(configs, made):
    after = started(configs, made, "xyz", "model/head=fc", "model/aux=none")
    assert torch.equal(after["conv2.conv.weight"], net_state(made)["conv2.conv.weight"])
    with pytest.raises(ValueError, match=r"missing in them \(2\): head.hidden.1.weight") as refusal:
        started(configs, made, "abcde", "model/head=fc")
    assert str(refusal.value).endswith(f"model/head=avgpool model.pretrained={made}")


@pytest.mark.parametrize(
    ("word", "reason", "fits"),
    [
        ("model/norm=lrn", "unknown here (342): conv1.norm.weight,", "model/norm=bn"),
        ("model/norm=bn_slim", "BatchNorm2d(eps=1e-05), here BatchNorm2d(eps=0.001)", "model/norm=bn"),
        ("model.pool4=2", "pool4 MaxPool2d(kernel_size=3, stride=2, padding=0, dilation=1, ceil_mode=True), here", "model.pool4=3"),
        ("model.width=0.25", "different (", "model.width=0.125"),
        ("model/block=no_pool", "unknown here (", "model/block=reduced"),
    ],
)  # fmt: skip
def test_another_network_is_refused_with_the_words_that_fit(configs, made, word, reason, fits):
    with pytest.raises(ValueError, match="nothing was loaded") as refusal:
        started(configs, made, "xyz", word)
    assert reason in str(refusal.value)
    assert str(refusal.value).endswith(f"they fit: {fits} model.pretrained={made}")


def test_other_preprocessing_is_refused(configs, made):
    with pytest.raises(ValueError, match=r"need other preprocessing.*'mean': \[0.485") as refusal:
        started(configs, made, "xyz", "preprocess=mean")
    assert str(refusal.value).endswith(f"they fit: preprocess=imagenet model.pretrained={made}")


def test_a_file_of_torchvision(configs, tmp_path, capsys):
    file = tmp_path / "theirs.pth"
    net = torchvision.models.googlenet(
        weights=None, num_classes=7, aux_logits=False, init_weights=False
    )
    torch.save(net.state_dict(), file)
    words = [
        "model=googlenet_torchvision",
        "model/init=he",
        "data=folder",
        "data.root=/nowhere",
        f"paths.run={tmp_path}",
    ]
    cfg = configs(*words, f"model.pretrained={file}")
    after = checkpoint.network_state(warm_start.initial_checkpoint(cfg, "ab"))
    assert torch.equal(after["conv2.conv.weight"], net.conv3.conv.weight)
    assert "new for 2 classes: aux, head" in capsys.readouterr().out


def read(source, folder):
    return weights_file.read_weights(weights_file.locate(source, folder))


def test_what_the_command_line_can_get_wrong(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"no such file; or choose from torchvision, bvlc, onnx$"):
        read("torchvison", tmp_path)
    strange = tmp_path / "strange.pth"
    strange.write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match=r"strange.pth: cannot be read"):
        read(str(strange), tmp_path)
    torch.save({"w": torch.ones(1)}, strange)
    with pytest.raises(ValueError, match=r"googlenet\); what is read: a state dict of torchvision"):
        read(str(strange), tmp_path)

    def no_network(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr(published, "download_url_to_file", no_network)
    with pytest.raises(
        ValueError, match=r"could not be downloaded .*put the file at .*1378be20.pth"
    ):
        read("torchvision", tmp_path)
    (tmp_path / "googlenet-1378be20.pth").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match=r"its sha256 is not that of https://download"):
        read("torchvision", tmp_path)


def test_a_pickle_is_not_run(tmp_path):
    file = tmp_path / "evil.pth"
    torch.save(torchvision.models.googlenet, file)
    with pytest.raises(
        ValueError, match=r"torch.load\(weights_only=True\) refuses it\); what is read"
    ):
        read(str(file), tmp_path)


def test_published_weights_need_their_preprocessing(configs, monkeypatch, tmp_path):
    """A file is known by its digest, whatever its name."""
    from caffemodel import caffemodel

    from deeper.files import file_digest

    file = tmp_path / "mine.caffemodel"
    file.write_bytes(caffemodel({"loss3/classifier": [torch.ones(2, 1024)]}, legacy=False))
    cfg = configs("model=googlenet_bvlc", f"model.pretrained={file}")
    warm_start._require_preprocessing(warm_start.read_pretrained(cfg), cfg.preprocess)
    monkeypatch.setitem(published.PUBLISHED, "bvlc", ("", file_digest(file)))
    with pytest.raises(ValueError, match=r"'channels': 'bgr'.*\n.*they fit: .* preprocess=bvlc "):
        warm_start._require_preprocessing(warm_start.read_pretrained(cfg), cfg.preprocess)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "out: required; pass out=<value>"),
        (["out=a.ckpt", "model.pretrained=null"], "pass out=<file>.ckpt and model.pretrained="),
        (["out=a.ckpt", "model.pretrained=/nowhere.pth"], "/nowhere.pth: no such file; or choose"),
        (["out=a.ckpt", "model/hed=fc"], "Could not override 'model/hed'"),
    ],
)
def test_convert_refuses(refused, tmp_path, words, message):
    assert message in refused(f"paths.cache={tmp_path}", *words, script="convert")


def test_convert_writes_a_checkpoint_that_answers_as_their_network(tmp_path):
    file, out = tmp_path / "theirs.pth", tmp_path / "ours.ckpt"
    net = torchvision.models.googlenet(weights=None, aux_logits=False, init_weights=False).eval()
    torch.save(net.state_dict(), file)
    words = ["model/init=he", "model/aux=none", f"model.pretrained={file}", f"out={out}"]
    made = shell(*words, f"paths.cache={tmp_path / 'cache'}", script="convert")
    assert made.returncode == 0, made.stderr
    ours = deeper.load(out)
    images = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    with torch.inference_mode():
        theirs = net((images.float() / 255 - 0.5) / 0.5)
        assert (ours(images) - theirs).abs().max() <= 1e-5 * theirs.abs().max()
