"""Parts from a folder of the user's: the files of docs/own*.md, and a few of a .yaml alone."""

import json
import re

import pytest
from entry import PROJECT, call, record, rows, run_dirs, shell, small

PAGE = "".join(page.read_text() for page in sorted((PROJECT / "docs").glob("own*.md")))
BLOCKS = re.findall(r"^```(?:python|yaml)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
FILES = {re.findall(r"# (mine/\S+)", block)[0]: block for block in BLOCKS}
WORDS = [re.sub(r"mine/configs/(.*)/(.*)\.yaml", r"\1=\2", f) for f in FILES if "configs" in f]
ON_GOOGLENET = ("model/", "experiment", "scheduler", "loss=aux_off")

MORE = {
    # A folder that comes from elsewhere vouches for nothing.
    "mine/configs/trusted.yaml": "packages: [mine]\n",
    "mine/configs/optimizer/nadam.yaml": "_target_: torch.optim.NAdam\n_partial_: true\nlr: 0.002\n",
    "mine/configs/metrics/auroc.yaml": (
        "auroc:\n  _target_: torchmetrics.classification.MulticlassAUROC\n  _partial_: true\n"
    ),
    "mine/configs/callbacks/witness.yaml": (
        "witness:\n  _target_: mine.witness.Witness\n  folder: ${paths.run}\n"
    ),
    "mine/witness.py": """
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
TRUST = "trust=[mine]"


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder with `mine`, which Python and the option `flag` find."""
    for name, text in {**FILES, **MORE}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def flag(outside):
    return f"--config-dir={outside / 'mine/configs'}"


@pytest.fixture
def listed(images, outside):
    """With the list that the pages' data set reads."""
    lines = ["file,class,split"]
    for split, name in (("train", "train"), ("val", "test")):
        for folder in sorted((images / split).iterdir()):
            lines += [f"{file},{folder.name},{name}" for file in sorted(folder.iterdir())]
    (outside / "images.csv").write_text("\n".join(lines))
    return outside


def test_the_pages_name_the_word_of_each_file():
    for word in WORDS:
        assert f"`{word}" in PAGE, word


def test_all_of_them_train_evaluate_and_resume(listed, flag):
    logs = listed / "logs"
    words = [flag, f"data.root={listed}", f"paths.logs={logs}"]
    words += [word for word in WORDS if not word.startswith(ON_GOOGLENET)]
    fast = ["debug=fast", "epochs=2", "trainer.max_epochs=1"]
    received = call(*words, *fast)
    assert received.returncode == 2
    assert (
        "pass trust=[mine] on the command line, or add it to configs/trusted.yaml"
        in received.stderr
    )
    words.append(TRUST)
    first = call(*words, *fast)
    assert first.returncode == 0, first.stderr
    (run,) = run_dirs(logs)
    assert f"evaluate: python src/eval.py '{TRUST}' run={run}" in first.stdout
    results = record(run)["results"]
    assert results["test/n"] == 48
    assert {"val/confidence", "test/confidence"} <= set(results)
    assert any("weight_norm" in row for row in rows(run))
    mixed = call(*words, *fast, "mix=mixup")
    assert mixed.returncode == 2
    assert "loss: Focal takes class indices" in mixed.stderr
    more = [flag, f"resume={run}", "trainer.max_epochs=2"]
    question = [flag, f"run={run}", "trainer=cpu", f"paths.logs={logs}"]
    for script, command in {"train": more, "eval": question}.items():
        untrusted = call(*command, script=script)
        assert untrusted.returncode == 2
        assert "_target_ 'mine.network.SmallNet' is not trusted" in untrusted.stderr
        again = call(*command, TRUST, script=script)
        assert again.returncode == 0, again.stderr


def test_parts_of_googlenet(images, outside, flag):
    words = [w for w in WORDS if w.startswith(ON_GOOGLENET) and w != "model/head=mean_max"]
    words += ["optimizer=nadam", "metrics=auroc", "model.width=0.125", TRUST]
    result = call(flag, *small(images, outside, *words))
    assert result.returncode == 0, result.stderr
    (run,) = run_dirs(outside)
    assert "test/auroc" in record(run)["results"]
    assert record(run)["experiments"] == ["head_mean_max"]


def test_two_processes_see_the_samples_of_one_that_accumulates(outside, flag, images):
    """Step by step the same samples: 1 × 2 accumulated, 2 × 1."""
    words = ["model=small_net", "callbacks=witness", "epochs=2", TRUST]
    one = small(images, outside / "one", *words, "trainer.accumulate_grad_batches=2")
    assert call(flag, *one).returncode == 0
    two = small(images, outside / "two", *words, "trainer=ddp_cpu")
    result = shell(flag, *two, PYTHONPATH=str(outside))
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
