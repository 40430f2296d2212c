"""Another network through the commands that GoogLeNet goes through: train, resume, eval, export, load."""

import json

import pytest
import torch
from entry import call, record, shell

import deeper
from deeper.export import parity

pytest.importorskip("timm")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def test_a_network_of_timm_from_training_to_files(train, tmp_path):
    run = train(
        "model=timm", "model.name=test_resnet", "averaging=ema", "data.image_size=64",
        "epochs=2", "trainer.max_epochs=1",
    )  # fmt: skip
    again = call(f"resume={run}", "trainer.max_epochs=2")
    assert again.returncode == 0, again.stderr
    assert len(record(run)["starts"]) == 2
    judged = call(f"run={run}", "trainer=cpu", "precision=fp32", script="eval")
    assert judged.returncode == 0, judged.stderr

    written = shell(f"run={run}", f"paths.cache={tmp_path / 'cache'}", script="export")
    assert written.returncode == 0, written.stderr
    assert written.stderr == ""
    assert "written to" in written.stdout
    out = run / "export"
    names = ["model.onnx", "model.pt2", "model.safetensors", "preprocessing.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    about = json.loads((out / "preprocessing.json").read_text())
    assert (about["source"]["network"], about["source"]["run"]) == ("test_resnet", run.name)

    net = deeper.load(run)
    assert net.weights == about["source"]["weights"] == "averaged"
    assert [row["name"] for row in about["classes"]] == net.classes
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    graph = torch.export.load(out / "model.pt2").module()
    for n in (1, 3, 16):
        images = torch.randint(0, 256, (n, 3, 64, 64), dtype=torch.uint8)
        with torch.inference_mode():
            expected = net(images)
            found = graph(images)
        onnx = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
        assert parity.logit_difference(found, expected) <= 1e-5
        assert parity.logit_difference(onnx, expected) <= 1e-5
