"""Exported files against the network they came from, and what is refused."""

import hashlib
import json
import resource

import pytest
import torch
from entry import call

import deeper
from deeper import checkpoint
from deeper.config.instantiate import build, resolved
from deeper.export import export, metadata, onnx, parity, safetensors, torch_export
from deeper.export.graph import Graph
from deeper.inference import model
from deeper.models.output import Output
from deeper.runs import build as run_parts

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

BOUND = 1e-5
FEWER = "model/block=naive_proj"
"""Convolutions: a third less to trace."""

CASES = {
    "bn, avgpool": [],
    "lrn, fc, bvlc": ["model/norm=lrn", "model/head=fc", "preprocess=bvlc", FEWER],
}
ALL = [*export.FORMATS.values()]


def written(configs, path, *words):
    """A checkpoint as a training would leave it, with an average that is not the live network."""
    size = ["data.image_size=32", "model.width=0.125", "data.root=/nowhere"]
    cfg = configs(*size, *words)
    cfg.paths.run = "/nowhere"
    net, preprocess = run_parts.network(cfg, [*"abcdefg"]), build(cfg.preprocess)
    random = torch.Generator().manual_seed(1)
    states = []
    for _ in range(2):
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2, generator=random)
                module.running_var.uniform_(0.5, 2, generator=random)
                module.weight.data.uniform_(0.5, 1.5, generator=random)
            elif isinstance(module, torch.nn.Linear | torch.nn.Conv2d) and module.bias is not None:
                module.bias.data.normal_(0, 0.1, generator=random)
        states.append({name: value.clone() for name, value in net.state_dict().items()})
    live, averaged = states
    state = {f"net.{name}": value for name, value in live.items()}
    state |= {f"preprocess.{name}": value for name, value in preprocess.state_dict().items()}
    checkpoint.save_checkpoint(
        {
            "state_dict": state,
            "averaged_state_dict": averaged,
            "deeper": checkpoint.contents(resolved(cfg), ["n01440764", *"bcdefg"]),
        },
        path,
    )
    return model.load(path)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """`exported(case, configs)` → the network, the folder and the rows; each case is written once."""
    made = {}

    def once(case, configs):
        if case not in made:
            folder = tmp_path_factory.mktemp("exported")
            net = written(configs, folder / "net.ckpt", *CASES[case])
            rows = export.export(net, ALL, folder / "out")
            made[case] = net, folder / "out", rows
        return made[case]

    return once


def apart(form, net, n):
    """max |Δ| / max |logit| at another batch, of pixels that the export's own check never saw."""
    images = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        return parity.logit_difference(form(images), net(images))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("batch", [1, 3, 16])
def test_onnx_runtime_answers_as_the_network(exported, configs, case, batch):
    import onnxruntime

    net, out, _ = exported(case, configs)
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])

    def answer(images):
        return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])

    assert apart(answer, net, batch) <= BOUND
    (images,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (images.type, images.shape) == ("tensor(uint8)", ["batch", 3, 32, 32])
    assert (logits.type, logits.shape) == ("tensor(float)", ["batch", 7])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("batch", [1, 5, 7])
def test_a_reloaded_graph_answers_as_the_network(exported, configs, case, batch):
    net, out, _ = exported(case, configs)
    graph = torch.export.load(out / "model.pt2")
    assert apart(graph.module(), net, batch) <= BOUND
    assert not [name for name in graph.state_dict if ".aux." in name or ".running_" in name]


@pytest.mark.parametrize("case", CASES)
def test_safetensors_has_the_checkpoints_bits(exported, configs, case):
    from safetensors import safe_open

    net, out, _ = exported(case, configs)
    expected = checkpoint.load_checkpoint(net.path)["averaged_state_dict"]
    with safe_open(out / "model.safetensors", "pt") as file:
        about = file.metadata()
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].numpy().tobytes() == value.numpy().tobytes(), name
    assert json.loads(about["classes"]) == net.classes
    assert json.loads(about["model"]) == {
        key: value for key, value in resolved(net.config.model).items() if key != "pretrained"
    }
    assert about["weights"] == "averaged"


@pytest.mark.parametrize("case", CASES)
def test_what_is_printed_was_measured(exported, configs, case, capsys):
    net, out, rows = exported(case, configs)
    assert [row.name for row in rows] == ["model.safetensors", "model.onnx", "model.pt2"]
    assert rows[0].difference == 0
    export.show_export(net, rows, out)
    printed = capsys.readouterr().out
    for row in rows:
        assert 0 <= row.difference <= BOUND
        assert row.megabytes == (out / row.name).stat().st_size / 1e6
        assert row.name in printed


def test_no_file_tells_of_this_machine(exported, configs):
    import zipfile

    _, out, _ = exported("bn, avgpool", configs)
    with zipfile.ZipFile(out / "model.pt2") as archive:
        texts = [archive.read(name) for name in archive.namelist()]
    texts += [path.read_bytes() for path in out.iterdir() if path.suffix != ".pt2"]
    here = str(export.__file__).rpartition("/src/")[0].encode()
    told = (here, str(out.parent).encode(), b"/nowhere")
    assert not [text for text in texts for path in told if path in text]


def test_preprocessing_is_said(exported, configs):
    net, out, _ = exported("lrn, fc, bvlc", configs)
    about = json.loads((out / "preprocessing.json").read_text())
    assert about["input"] == {
        "name": "images", "dtype": "uint8", "shape": ["batch", 3, 32, 32], "channels": "rgb",
        "range": [0, 255],
    }  # fmt: skip
    given = about["normalisation"]
    assert (given["channels"], given["scale"]) == ("bgr", 1.0)
    assert (given["mean"], given["std"]) == ([104.0, 117.0, 123.0], [1.0, 1.0, 1.0])
    assert about["crop"]["protocol"]["_target_"].endswith(".Single")
    assert (about["crop"]["share"], about["size"]) == (0.875, 32)
    assert about["classes"][0] == {
        "label": 0, "name": "n01440764", "words": "tench, Tinca tinca",
    }  # fmt: skip
    assert len(about["classes"]) == 7
    digest = hashlib.sha256(net.path.read_bytes()).hexdigest()
    assert about["source"]["sha256"] == digest
    assert about["source"]["weights"] == "averaged"


def test_what_is_said_of_the_preprocessing_suffices(exported, configs):
    """By hand from the file: pixels to logits, by the weights of safetensors."""
    net, out, _ = exported("bn, avgpool", configs)
    given = json.loads((out / "preprocessing.json").read_text())["normalisation"]
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    mean, std = (torch.tensor(given[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    ordered = images.flip(1) if given["channels"] == "bgr" else images
    with torch.inference_mode():
        by_hand = net.net((ordered * given["scale"] - mean) / std)
        logits = by_hand.logits if isinstance(by_hand, Output) else by_hand
        assert parity.logit_difference(logits, net(images)) <= BOUND


@pytest.mark.parametrize("case", CASES)
def test_a_stranger_makes_the_same_prediction(exported, configs, case):
    """What preprocessing.json says, by Pillow, numpy and ONNX Runtime."""
    import numpy as np
    import onnxruntime
    from PIL import Image

    net, out, _ = exported(case, configs)
    about = json.loads((out / "preprocessing.json").read_text())
    crop, size = about["crop"], about["size"]
    random = np.random.default_rng(0)
    pictures = [
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for width, height in [(61, 40), (33, 95), (50, 50)]
    ]
    pixels = []
    for picture in pictures:
        width, height = picture.size
        ratio = crop["resize"] / min(width, height)
        new = [
            crop["resize"] if side == min(width, height) else int(side * ratio)
            for side in (width, height)
        ]
        left, top = (round((side - size) / 2) for side in new)
        scaled = picture.resize(new, Image.Resampling.BILINEAR)
        small = scaled.crop((left, top, left + size, top + size))
        pixels.append(np.asarray(small).transpose(2, 0, 1))
    assert all(
        torch.equal(torch.tensor(a), net.view(b)) for a, b in zip(pixels, pictures, strict=True)
    )
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {about["input"]["name"]: np.stack(pixels)})
    powers = np.exp(logits - logits.max(1, keepdims=True))
    found = torch.tensor(powers / powers.sum(1, keepdims=True))
    assert (found - net.probabilities(pictures)).abs().max() <= 1e-4


def test_the_crop_of_another_protocol_is_not_said_to_be_this_ones(configs, tmp_path):
    net = written(configs, tmp_path / "net.ckpt")
    net.config.protocol = {"_target_": "my_crops.Corner", "_partial_": True, "where": "left"}
    crop = metadata.describe(net)["crop"]
    assert crop["protocol"]["_target_"] == "my_crops.Corner"
    assert crop["protocol"]["where"] == "left"
    assert "its own code" in crop["steps"]


def corrupted_program(graph):
    """In the graph alone: it shares its tensors with the folded network, which is right."""
    state = graph.program.state_dict
    name = next(name for name in state if name.endswith("weight"))
    state[name] = torch.nn.Parameter(state[name].detach() + 0.01, requires_grad=False)


def flipped_bit(data):
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("kind", [torch_export, onnx])
def test_a_wrong_graph_does_not_stay(configs, tmp_path, monkeypatch, kind):
    net = written(configs, tmp_path / "net.ckpt", FEWER)
    encode = kind.encode

    def wrong(graph):
        corrupted_program(graph)
        return encode(graph)

    monkeypatch.setattr(kind, "encode", wrong)
    message = rf"^{kind.FILE}: differs from the network as trained by .* 1e-05 is the bound"
    with pytest.raises(ValueError, match=message):
        export.export(net, [safetensors, kind], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_wrong_bit_of_weights_does_not_stay(configs, tmp_path, monkeypatch):
    net = written(configs, tmp_path / "net.ckpt")
    encode = safetensors.encode
    monkeypatch.setattr(safetensors, "encode", lambda graph: flipped_bit(encode(graph)))
    with pytest.raises(ValueError, match=r"^model.safetensors: differs from the checkpoint in "):
        export.export(net, [safetensors], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_wrong_fold_is_refused(configs, tmp_path, monkeypatch):
    net = written(configs, tmp_path / "net.ckpt")
    right = Graph.folded.func

    def wrong(graph):
        deployed = right(graph)
        deployed.net.head.classifier.bias.data[0] += 1e-2
        return deployed

    monkeypatch.setattr(Graph, "folded", property(wrong))
    with pytest.raises(ValueError, match=r"^model.pt2: differs from .* 1e-05 is the bound"):
        export.export(net, [torch_export], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_diverged_network_is_refused(configs, tmp_path):
    net = written(configs, tmp_path / "net.ckpt")
    net.net.head.classifier.bias.data[0] = torch.nan
    with pytest.raises(ValueError, match=r"the logits are not finite; its training has diverged"):
        export.export(net, ALL, tmp_path / "out")


def test_live_and_averaged_weights_are_told_apart(configs, tmp_path):
    averaged = written(configs, tmp_path / "net.ckpt")
    live = deeper.load(tmp_path / "net.ckpt", weights="live")
    for net in (averaged, live):
        out = tmp_path / net.weights
        export.export(net, [safetensors], out)
        assert json.loads((out / "preprocessing.json").read_text())["source"]["weights"] == (
            net.weights
        )
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("averaged", "live")]
    assert files[0] != files[1]


def test_a_full_disk_leaves_nothing(configs, tmp_path):
    """The system's limit on a file's size is refused as a full disk is."""
    net = written(configs, tmp_path / "net.ckpt")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(ValueError, match=r"model.safetensors: .* run the command again$"):
            export.export(net, [safetensors], tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "out").exists()


def test_existing_files_stay_unless_told_otherwise(configs, tmp_path, refused):
    net = written(configs, tmp_path / "net.ckpt")
    out = tmp_path / "net-export"
    words = [f"ckpt={net.path}", "format=safetensors", "out=", f"paths.cache={tmp_path}/cache"]
    assert call(*words, script="export").returncode == 0
    before = (out / "model.safetensors").read_bytes()
    message = refused(*words, "weights=live", script="export")
    assert f"{out}: holds model.safetensors, preprocessing.json already; overwrite=true" in message
    assert (out / "model.safetensors").read_bytes() == before
    assert call(*words, "weights=live", "overwrite=true", script="export").returncode == 0
    assert (out / "model.safetensors").read_bytes() != before


def test_refusals(configs, tmp_path, refused, monkeypatch):
    net = written(configs, tmp_path / "net.ckpt")
    ckpt = f"ckpt={net.path}"
    for words, message in [
        ([ckpt, "format=onxx"], "Invalid value 'onxx', expected one of [all, safetensors, onnx"),
        ([ckpt, "formt=onnx"], "Could not override 'formt': no such key; did you mean 'format'?"),
        ([ckpt, "bound=2"], "bound=2.0: a fraction of the largest logit, between 0 and 1"),
        ([ckpt, f"out={net.path}"], f"out={net.path}: File exists; pass out=<a folder>"),
        ([ckpt, f"out={net.path}/below", "format=safetensors"], "Not a directory; pass out=<a"),
    ]:
        assert message in refused(f"paths.cache={tmp_path}/cache", *words, script="export")
    monkeypatch.setattr(export, "find_spec", lambda name: None if "onnx" in name else object())
    assert (
        "format=all: needs onnx, onnxscript, onnxruntime: pip install -e '.[export]', or "
        "pass format=torch_export, which needs none"
    ) in refused(ckpt, script="export")
    assert not (tmp_path / "net-export").exists()
