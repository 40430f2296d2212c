"""Parts from a folder of the user's: one .py and one .yaml each, or one .yaml for a class of torch."""

import json

import pytest
from entry import call, record, run_dirs, shell, small

CODE = {
    "my_network.py": """
from torch import nn

class SmallNet(nn.Sequential):
    def __init__(self, num_classes: int, width: int = 8) -> None:
        super().__init__(nn.Conv2d(3, width, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(width, num_classes))
""",
    "my_transform.py": """
import random
from torchvision.transforms import v2

class Invert(v2.Transform):
    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def transform(self, inpt, params):
        return v2.functional.invert(inpt) if random.random() < self.p else inpt
""",
    "my_data.py": """
import numpy as np
from PIL import Image
from deeper.data.source import Splits

class Shades:
    def __init__(self, n: int) -> None:
        self.labels = np.arange(n) % 2

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        label = int(self.labels[index])
        return Image.new("RGB", (40 + index, 60), (200 * label, 90, 30)), label

class TwoShades:
    def __init__(self, root: str, cache: str) -> None: ...

    def prepare(self) -> None: ...

    def load(self) -> Splits:
        return Splits(["dark", "light"], Shades(60), Shades(21), Shades(21))
""",
    "my_loss.py": """
from deeper.training.loss import AuxWeighted

class Focal(AuxWeighted):
    def criterion(self, logits, targets):
        log_p = logits.log_softmax(1).gather(1, targets[:, None])
        return -((1 - log_p.exp()) ** 2 * log_p).mean()
""",
    "my_callback.py": """
import json
import lightning as L

class Witness(L.Callback):
    def __init__(self, folder: str) -> None:
        self.folder = folder

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        row = [trainer.current_epoch, trainer.global_step, sorted(batch.index.tolist())]
        with open(f"{self.folder}/seen_{trainer.global_rank}.jsonl", "a") as file:
            file.write(json.dumps(row) + "\\n")
""",
}
CONFIGS = {
    # A folder that comes from elsewhere vouches for nothing.
    "trusted.yaml": "packages: [my_network, my_transform, my_data, my_loss, my_callback]\n",
    "model/mine.yaml": "_target_: my_network.SmallNet\nwidth: 8\n",
    "augment/mine.yaml": (
        "defaults: [standard, _self_]\ninvert:\n  _target_: my_transform.Invert\n  p: 0.3\n"
    ),
    "data/mine.yaml": (
        "defaults: [_common, _self_]\nsource:\n  _target_: my_data.TwoShades\n  _partial_: true\n"
        "root: nowhere\nimage_size: 32\n"
    ),
    "loss/focal.yaml": "_target_: my_loss.Focal\naux_weight: 0.3\n",
    "optimizer/nadam.yaml": "_target_: torch.optim.NAdam\n_partial_: true\nlr: 0.002\n",
    "metrics/auroc.yaml": (
        "auroc:\n  _target_: torchmetrics.classification.MulticlassAUROC\n  _partial_: true\n"
    ),
    "callbacks/witness.yaml": (
        "witness:\n  _target_: my_callback.Witness\n  folder: ${paths.run}\n"
    ),
}


TRUST = "trust=[my_network,my_transform,my_data,my_loss,my_callback]"


@pytest.fixture
def outside(tmp_path):
    for name, text in {**{f"code/{k}": v for k, v in CODE.items()},
                       **{f"configs/{k}": v for k, v in CONFIGS.items()}}.items():  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_all_of_them_train_evaluate_and_resume(outside, monkeypatch):
    monkeypatch.syspath_prepend(outside / "code")
    logs, flag = outside / "logs", f"--config-dir={outside / 'configs'}"
    words = [flag, "model=mine", "augment=mine", "data=mine", f"paths.logs={logs}", "epochs=2"]
    words += ["loss=focal", "optimizer=nadam", "metrics=auroc"]
    fast = ["debug=fast", "data.limit=null", "trainer.max_epochs=1"]
    received = call(*words, *fast)
    assert received.returncode == 2
    assert "pass trust=[my_network], or add it to configs/trusted.yaml" in received.stderr
    words.append(TRUST)
    first = call(*words, *fast)
    assert first.returncode == 0, first.stderr
    (run,) = run_dirs(logs)
    results = record(run)["results"]
    assert results["test/n"] == 21
    assert {"val/auroc", "test/auroc"} <= set(results)
    mixed = call(*words, *fast, "mix=mixup")
    assert mixed.returncode == 2
    assert "loss: Focal takes class indices" in mixed.stderr
    more = [flag, f"resume={run}", "trainer.max_epochs=2"]
    question = [flag, f"run={run}", "trainer=cpu", f"paths.logs={logs}"]
    for script, command in {"train": more, "eval": question}.items():
        untrusted = call(*command, script=script)
        assert untrusted.returncode == 2
        assert "_target_ 'my_network.SmallNet' is not trusted" in untrusted.stderr
        again = call(*command, TRUST, script=script)
        assert again.returncode == 0, again.stderr


def test_two_processes_see_the_samples_of_one_that_accumulates(outside, images, monkeypatch):
    """Step by step the same samples: 1 × 2 accumulated, 2 × 1."""
    monkeypatch.syspath_prepend(outside / "code")
    flag, words = (
        f"--config-dir={outside / 'configs'}",
        ["model=mine", "callbacks=witness", "epochs=2", TRUST],
    )
    one = small(images, outside / "one", *words, "trainer.accumulate_grad_batches=2")
    assert call(flag, *one).returncode == 0
    two = small(images, outside / "two", *words, "trainer=ddp_cpu")
    result = shell(flag, *two, PYTHONPATH=str(outside / "code"))
    assert result.returncode == 0, result.stderr
    seen = []
    for logs in (outside / "one", outside / "two"):
        (run,) = run_dirs(logs)
        steps: dict[tuple[int, int], list[int]] = {}
        for file in run.glob("seen_*.jsonl"):
            for line in file.read_text().splitlines():
                epoch, step, index = json.loads(line)
                steps.setdefault((epoch, step), []).extend(index)
        seen.append({step: sorted(index) for step, index in steps.items()})
    assert len(seen[0]) == 6
    assert seen[0] == seen[1]
