"""src/train.py and what it leaves: in this process, and as a shell starts it where that is the subject."""

import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from entry import PROJECT, call, command, hear_ctrl_c, record, rows, run_dirs, shell, small
from omegaconf import OmegaConf

import deeper
from deeper import checkpoint
from deeper.callbacks.checkpoint import Checkpoint
from deeper.runs import build
from deeper.training.module import ImageClassifier

TINY = "model.width=0.125"


@pytest.fixture(scope="module")
def stopped(images, tmp_path_factory):
    """A run of two epochs that has done one; for copies."""
    logs = tmp_path_factory.mktemp("stopped")
    result = call(*small(images, logs, TINY, "epochs=2", "trainer.max_epochs=1", "test=false"))
    assert result.returncode == 0, result.stderr
    return run_dirs(logs)[0]


@pytest.fixture
def run(stopped, tmp_path):
    """A copy of the stopped run."""
    return shutil.copytree(stopped, tmp_path / "logs/train/runs/stopped")


def listing(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_leaves_what_the_readme_says(train, capsys):
    run = train("logger=[csv,tensorboard]", "averaging=ema", "precision=auto", TINY)
    content = record(run)
    assert content["status"] == "finished"
    assert {"commit", "code", "versions", "hardware", "identity", "data", "overrides"} <= set(
        content
    )
    assert content["objective"] == content["results"]["val/top1"]
    assert content["results"]["test/n"] == 48
    assert 0 <= content["perf"]["data_wait"] <= 1
    for name in ("metrics.jsonl", ".hydra/config.yaml", "checkpoints/best.ckpt"):
        assert (run / name).exists(), name
    assert list((run / "tensorboard").glob("events*"))
    names = set().union(*rows(run))
    assert {
        "train/loss", "train/loss_main", "train/loss_aux/inception4a", "train/loss_aux/inception4d",
        "val/loss", "val/top1", "val/top5", "optim/lr", "grad_norm/conv1", "perf/images_per_s",
        "perf/data_wait", "test/top1",
    } <= names  # fmt: skip
    table = (run / "metrics.csv").read_text().splitlines()
    assert {*table[0].split(",")} == names
    assert len(table) == 1 + len(rows(run))
    for path in (run / "checkpoints").glob("*.ckpt"):
        loaded = torch.load(path, weights_only=True)  # unpickles no code
        assert loaded["deeper"]["format"] == checkpoint.FORMAT
        assert loaded["deeper"]["config"]["model"]["width"] == 0.125
        assert len(loaded["deeper"]["classes"]) == 10
        assert {"state_dict", "averaged_state_dict"} <= set(loaded)
    said = capsys.readouterr().out.splitlines()
    line = next(line for line in said if line.startswith("precision"))
    assert line.split("(auto: ")[0].split()[1] in ("fp32", "bf16")
    assert "bfloat16" in line
    assert said[-1] == f"evaluate: python src/eval.py run={run}"


def test_eval_needs_nothing_said_again(train, tmp_path):
    run = train("experiment=head_fc", "recipe=paper", TINY)
    words = [f"run={run}", "trainer=cpu", "precision=fp32", f"paths.logs={tmp_path / 'e'}"]
    result = call(*words, script="eval")
    assert result.returncode == 0, result.stderr
    (file,) = (run / "eval").iterdir()
    written = json.loads(file.read_text())
    assert [*written["checkpoints"].values()] == ["averaged"]
    assert written["root"] == record(run)["overrides"][0].removeprefix("data.root=")
    for name, value in record(run)["results"].items():
        if name.startswith("test/"):
            assert written["results"][name] == pytest.approx(value, abs=1e-6), name
    assert record(run)["test_looks"] == 2
    again = call(*words, "split=val", "weights=live", script="eval")
    assert again.returncode == 0, again.stderr
    assert len(list((run / "eval").iterdir())) == 2
    assert record(run)["test_looks"] == 2  # the held-out part of train is no test


def test_resume_continues_in_the_same_directory(run, tmp_path):
    again = shell(f"resume={run}", "trainer.max_epochs=2", "test=true", f"paths.logs={tmp_path}")
    assert again.returncode == 0, again.stderr
    assert "resume: trainer.max_epochs 1 → 2" in again.stdout
    assert run_dirs(tmp_path) == [run]
    content = record(run)
    assert len(content["starts"]) == 2
    assert content["overrides"][0].startswith("data.root=")
    assert content["results"]["test/n"] == 48
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["epoch"] == 1
    (start,) = (run / ".hydra").glob("resume_*")
    assert (start / "overrides.yaml").exists()
    assert "max_epochs=1" in (run / ".hydra/overrides.yaml").read_text()
    table = (run / "metrics.csv").read_text().splitlines()  # one, of both starts
    assert len(table) == 1 + len(rows(run))
    assert [row["step"] for row in rows(run) if "val/top1" in row] == [3, 6]

    config = OmegaConf.load(run / "config.yaml")
    assert config.name == "baseline"
    assert config.trainer.max_epochs == 2  # of the second start

    before = listing(run)
    third = call(f"resume={run}", "test=true")
    assert third.returncode == 0, third.stderr
    assert "has finished already" in third.stdout
    assert f"{content['results']['test/top1']:.2%}".rstrip("%") in third.stdout
    assert listing(run) == before  # no start, no look at the test set


@pytest.mark.parametrize(
    "change", ["model=timm", "seed=1", "model.width=0.5", "experiment=[no_aux]"]
)
def test_resume_changes_nothing_of_what_is_computed(run, change):
    before = listing(run)
    refused = call(f"resume={run}", change)
    assert refused.returncode == 2, refused.stderr
    assert f"{change} can't be changed now (trainer, precision, logger" in refused.stderr
    assert listing(run) == before


def _format_1(run: Path) -> None:
    for path in run.glob("checkpoints/*.ckpt"):
        content = torch.load(path, weights_only=True)
        content["deeper"]["format"] = 1
        torch.save(content, path)
        checkpoint.digest_path(path).unlink()


REFUSED_RESUMES = {
    "a checkpoint of an earlier version": (
        _format_1,
        r"best\.ckpt: written by an earlier version \(format 1\); evaluate it with the version",
    ),
    "truncated checkpoints": (
        lambda run: [path.write_bytes(b"PK") for path in run.glob("checkpoints/*.ckpt")],
        r"best\.ckpt: damaged, its digest differs",
    ),
    "a truncated record": (
        lambda run: (run / "run.json").write_text('{"status": "fin'),
        r"run\.json: damaged \(.*\); restore it or start a new run",
    ),
    "a broken config": (
        lambda run: (run / "config.yaml").write_text("a: [1\nb: }"),
        r"config\.yaml: damaged \(.*line 2.*\); restore it or start a new run",
    ),
    "fewer epochs than it has": (lambda run: None, r"epochs=0: the run has done 1 already"),
    "other images": (
        lambda run: (run / "run.json").write_text('{"data": "0123"}'),
        r"not the images that .* was trained on \(fingerprint \w+, then 0123\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED_RESUMES)
def test_what_is_no_run_to_continue_is_refused_in_one_line(run, case):
    damage, message = REFUSED_RESUMES[case]
    damage(run)
    before = listing(run)
    more = ["trainer.max_epochs=0"] if "epochs" in case else []
    refused = call(f"resume={run}", *more)
    assert refused.returncode == 2
    (line,) = refused.stderr.strip().splitlines()[-1:]
    assert re.search(message, line), refused.stderr
    assert listing(run) == before


@pytest.mark.parametrize("name", ["nowhere", "README.md"])
def test_resuming_what_is_no_run_leaves_nothing(tmp_path, name):
    refused = call(f"resume={tmp_path / name}", f"paths.logs={tmp_path / 'logs'}")
    assert refused.returncode == 2
    assert refused.stderr.strip().startswith(f"{tmp_path / name}: no such run directory; `ls -d")
    assert [*(tmp_path / "logs").iterdir()] == []


def test_rows_after_the_last_checkpoint_are_logged_anew(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "train/loss": 1.0}\n{"step": 5, "tra')
    again = call(f"resume={run}", "trainer.max_epochs=2")
    assert again.returncode == 0, again.stderr
    assert [row["step"] for row in rows(run) if "train/loss" in row] == [1, 2, 3, 4, 5, 6]


def test_a_new_run_never_writes_over_another(run, images, tmp_path):
    before = listing(run)
    refused = call(*small(images, tmp_path, TINY, f"hydra.run.dir={run}"))
    assert refused.returncode == 2
    assert f"{run}: holds a run already; resume={run} continues it" in refused.stderr
    changed = {p.name for p, content in listing(run).items() if before.get(p) != content}
    assert changed <= {"config.yaml", "overrides.yaml", "hydra.yaml"}  # Hydra's, below .hydra
    assert record(run)["status"] == "finished"


def test_the_set_that_chose_is_no_test(images, tmp_path):
    refused = call(*small(images, tmp_path, TINY, "data.val_from=official"))
    assert refused.returncode == 2
    assert "data.val_from=official: there is one official set" in refused.stderr
    assert list(tmp_path.iterdir()) == []


class Diverged(Exception):
    status, exit_status = "diverged", 1


def test_a_diverged_run_is_no_success(run, monkeypatch):
    """It ends with its status, without results or traceback; earlier checkpoints are kept."""

    def not_finite(self, batch, batch_idx):
        for logger in self.trainer.loggers:
            logger.log_metrics({"train/loss": math.nan}, step=self.trainer.global_step)
        raise Diverged("the loss is not finite at step 4")

    monkeypatch.setattr(ImageClassifier, "training_step", not_finite)
    before = (run / "checkpoints/best.ckpt").read_bytes()
    ended = call(f"resume={run}", "trainer.max_epochs=2")
    assert (ended.returncode, ended.stderr.strip()) == (1, "the loss is not finite at step 4")
    content = record(run)
    assert content["status"] == "diverged"
    assert "at step 4" in content["error"]
    assert "results" not in content
    assert (run / "checkpoints/best.ckpt").read_bytes() == before
    assert "NaN" not in (run / "metrics.jsonl").read_text()
    assert rows(run)[-1]["train/loss"] is None


def test_resumed_at_an_epochs_start_it_is_the_uninterrupted_run(train, monkeypatch, tmp_path):
    words = ["epochs=3", "averaging=ema", "augment=paper", "data.workers=0", TINY]
    whole = train(*words)
    written = Checkpoint.on_train_epoch_end

    def stop_after_two(self, trainer, module):
        written(self, trainer, module)
        if trainer.current_epoch == 1:
            raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "on_train_epoch_end", stop_after_two)
        with pytest.raises(RuntimeError, match="power cut"):
            train(*words)
    (broken,) = set(run_dirs(tmp_path)) - {whole}
    assert record(broken)["status"] == "failed"
    again = shell(f"resume={broken}", f"paths.logs={tmp_path}")
    assert again.returncode == 0, again.stderr
    ends = [torch.load(r / "checkpoints/last.ckpt", weights_only=True) for r in (whole, broken)]
    for key in ("state_dict", "averaged_state_dict"):
        for name, value in ends[0][key].items():
            assert torch.equal(value, ends[1][key][name]), f"{key} {name}"
    assert record(broken)["results"] == record(whole)["results"]


def test_a_compiled_network_has_the_same_keys(configs):
    """It is compiled in place, so that compiled and eager networks load each other."""
    words = ("paths.run=/r", "data.root=/d", TINY)
    keys = [
        [*build.network(configs(*words, f"compile={compiled}"), ["a", "b"]).state_dict()]
        for compiled in (True, False)
    ]
    assert keys[0] == keys[1]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("first", [True, False])
def test_a_run_continues_compiled_or_eager(images, tmp_path, first):
    words = ["epochs=2", "trainer.max_epochs=1", "model.width=0.25", f"compile={first}"]
    start = shell(*small(images, tmp_path, *words), HOME=str(tmp_path))
    assert start.returncode == 0, start.stderr
    (run,) = run_dirs(tmp_path)
    more = [f"resume={run}", "trainer.max_epochs=2", f"compile={not first}"]
    again = shell(*more, HOME=str(tmp_path))
    assert again.returncode == 0, again.stderr
    judged = shell(f"run={run}", "trainer=cpu", script="eval")
    assert judged.returncode == 0, judged.stderr


def test_wandb_without_key_or_network_records_offline(images, tmp_path):
    result = shell(*small(images, tmp_path, TINY, "logger=[csv,wandb]"))
    assert result.returncode == 0, result.stderr
    assert "W&B: no key found, so this run is recorded offline" in result.stdout
    (folder,) = (run_dirs(tmp_path)[0] / "wandb").glob("offline-run-*")
    (file,) = folder.glob("*.wandb")
    wandb = str(Path(sys.executable).parent / "wandb")
    shown = command(wandb, "leet", "inspect", "--summary", "--json", str(file), HOME=str(tmp_path))
    assert shown.returncode == 0, shown.stderr
    for key in ("train/loss", "val/top1", "test/top1", "optim/lr", "perf/images_per_s"):
        assert key in shown.stdout, key


def test_two_processes_evaluate_as_one(train, tmp_path):
    run = train(TINY, "data.limit=null")
    found = []
    for trainer, start in (("cpu", call), ("ddp_cpu", shell)):
        words = [f"run={run}", f"trainer={trainer}", "precision=fp32", "data.eval_batch_size=7"]
        result = start(*words, f"paths.logs={tmp_path / trainer}", script="eval")
        assert result.returncode == 0, result.stderr
        newest = max((run / "eval").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        found.append(json.loads(newest.read_text())["results"])
    assert found[0]["test/n"] == 50  # does not divide by 2 × 7
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def left_one_directory(logs: Path, images: int = 48) -> None:
    assert len(list((logs / "train/runs").iterdir())) == 1
    assert record(run_dirs(logs)[0])["results"]["test/n"] == images


@pytest.mark.parametrize(
    ("precision", "bound"),
    [pytest.param("fp32", 1e-5, marks=pytest.mark.reliability), ("bf16", 0.03)],
)
def test_two_processes_train_as_one(images, tmp_path, precision, bound):
    """The losses of eight steps of equal global batch, without what differs by process or its batch."""
    plain = ["model/norm=lrn", "model/init=he", "model/aux=none", "model.head.dropout=0"]
    plain += ["lr=0.005", "seed=2"]  # with others a rounding may turn a ReLU
    more = [*plain, "averaging=none", "epochs=2", "test=true", "trainer.log_every_n_steps=1"]
    found = []
    for trainer, start in (("cpu", call), ("ddp_cpu", shell)):
        words = [f"data.root={images}", f"paths.logs={tmp_path / trainer}", TINY, *more]
        result = start(*words, "batch_size=16", f"trainer={trainer}", f"precision={precision}")
        assert result.returncode == 0, result.stderr
        found.append(
            [
                row["train/loss"]
                for row in rows(run_dirs(tmp_path / trainer)[0])
                if "train/loss" in row
            ]
        )
    assert "16 global = 8 micro × 2 processes × 1 accumulated" in result.stdout
    left_one_directory(tmp_path / "ddp_cpu", 50)
    assert len(found[0]) == 8
    assert found[0] == pytest.approx(found[1], rel=bound)


def test_torchrun_leaves_one_directory(images, tmp_path):
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    words = [str(PROJECT / "src/train.py"), *small(images, tmp_path, TINY, "trainer=ddp_cpu")]
    result = command(*start, *words)
    assert result.returncode == 0, result.stderr
    left_one_directory(tmp_path)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def test_torchrun_over_two_nodes_leaves_one_directory(images, tmp_path):
    """Two agents of one process each, which start at different times."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1"]
    torchrun += ["--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    nodes = ["trainer=ddp_cpu", "trainer.num_nodes=2", "trainer.devices=1"]
    words = [str(PROJECT / "src/train.py"), *small(images, tmp_path, TINY, *nodes)]
    with ThreadPoolExecutor() as pool:
        starts = [pool.submit(command, *torchrun, f"--node-rank={i}", *words) for i in range(2)]
    for start in starts:
        assert start.result().returncode == 0, start.result().stderr
    left_one_directory(tmp_path)


def test_srun_leaves_one_directory(images, tmp_path):
    if shutil.which("sinfo") is None or subprocess.run(["sinfo"], capture_output=True).returncode:
        pytest.skip("no SLURM cluster here")
    nodes = ["trainer=ddp_cpu", "trainer.num_nodes=2", "trainer.devices=1"]
    words = [str(PROJECT / "src/train.py"), *small(images, tmp_path, TINY, *nodes)]
    cluster = {"SLURM_CONF": os.environ["SLURM_CONF"]} if "SLURM_CONF" in os.environ else {}
    result = command("srun", "-N2", "--ntasks-per-node=1", sys.executable, *words, **cluster)
    assert result.returncode == 0, result.stderr
    left_one_directory(tmp_path)


@pytest.mark.parametrize("norm", ["bn", "lrn", "lrn_google", "none"])
def test_bf16_on_cpu_runs_for_every_norm(train, norm):
    words = ["precision=bf16", f"model/norm={norm}", "model/init=bvlc", TINY, "test=false"]
    words += ["data.limit=4", "data.batch_size=4", "data.eval_batch_size=4"]
    train(*words, "data.val_from=official")


def test_smaller_images_at_first_and_larger_ones_in_evaluation(train, tmp_path, capsys):
    run = train("data.initial_scale=0.75", "data.eval_scale=1.4", "model/aux=none", TINY)
    assert "80 px, at first 60 px, evaluated at 112 px" in capsys.readouterr().out
    costs = record(run)["costs"]
    assert costs["macs_inference"] > 1.5 * costs["macs_training"] > 0
    words = [f"run={run}", "trainer=cpu", "precision=fp32", f"paths.logs={tmp_path / 'e'}"]
    result = call(*words, script="eval")
    assert result.returncode == 0, result.stderr
    (file,) = (run / "eval").iterdir()
    found, own = json.loads(file.read_text())["results"], record(run)["results"]
    assert found["test/loss"] == pytest.approx(own["test/loss"], abs=1e-6)
    assert deeper.load(run).image_size == 112


def test_another_network_trains_and_evaluates(train, tmp_path):
    run = train("model=timm", "model.name=mobilenetv3_small_050", "data.limit=16", "test=false")
    result = call(f"run={run}", "trainer=cpu", f"paths.logs={tmp_path / 'e'}", script="eval")
    assert result.returncode == 0, result.stderr


ANSWERED_WITHOUT_TORCH = (
    "--help", "--cfg job", "-sc query=bash", "experiment=no_auxx", "optimizer=nope", "epochs=-1",
    "optimizer.lr=fast", "+model.head.dropuot=0.5", "model.norm=bn", "resume=/nope", "data.root=/nope",
    "data=folder data.root=/nope", "experiment=norm_bn", "experiment=[no_aux,aux_4a]",
)  # fmt: skip


@pytest.mark.parametrize("words", ANSWERED_WITHOUT_TORCH)
def test_what_needs_no_torch_does_not_import_it(words, tmp_path):
    """Its import takes seconds, and decides how long an answer takes."""
    logs = [] if words.startswith("-") else [f"paths.logs={tmp_path}"]
    code = f"""
import runpy, sys
sys.path.insert(0, {str(PROJECT / "src")!r})
sys.argv = ["train.py", *{words.split()!r}, *{logs!r}]
try:
    runpy.run_path({str(PROJECT / "src/train.py")!r}, run_name="__main__")
except SystemExit as end:
    print("status", end.code)
print("torch imported:", "torch" in sys.modules)
"""
    done = command(sys.executable, "-c", code, COMP_LINE="x experiment=no")
    assert "torch imported: False" in done.stdout, done.stdout + done.stderr
    assert words.startswith("-") or "status 2" in done.stdout, done.stdout + done.stderr


def test_help_lists_the_words_of_its_own_entry_point(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text("")
    train = call("--help", f"--config-dir={tmp_path}").stdout
    assert "python src/train.py experiment=no_aux" in train
    assert re.search(r"^  experiment=.*\|mine\|", train, re.M)
    assert "  model/head=avgpool|fc|fc4096|" in train
    assert "_common" not in train
    evaluation = call("--help", script="eval").stdout
    assert "  trainer=auto|cpu" in evaluation
    assert "experiment=" not in evaluation


@pytest.mark.parametrize("word", ["--help", "--cfg job", "experiment=no_auxx", "seed=fast"])
def test_what_needs_no_torch_is_fast(word):
    """1.5 s on two quiet cores; here the best of three, since a loaded machine takes its time."""
    seconds = []
    while len(seconds) < 3 and not (seconds and seconds[-1] < 4):
        start = time.perf_counter()
        train = [sys.executable, str(PROJECT / "src/train.py")]
        subprocess.run([*train, *word.split()], capture_output=True)
        seconds.append(time.perf_counter() - start)
    assert seconds[-1] < 4, seconds


def test_ctrl_c_says_so_and_keeps_the_last_checkpoint(images, tmp_path):
    words = [*small(images, tmp_path, TINY, "epochs=1000"), "test=false"]
    start = subprocess.Popen(
        [sys.executable, str(PROJECT / "src/train.py"), *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c,
    )  # fmt: skip
    assert start.stdout is not None
    try:
        for line in start.stdout:
            if line.startswith("epoch    2/"):  # the checkpoint of the first is written by now
                break
        start.send_signal(signal.SIGINT)
        rest, _ = start.communicate(timeout=60)
    finally:
        start.kill()
        start.communicate()
    assert start.returncode == 130
    (run,) = run_dirs(tmp_path)
    assert record(run)["status"] == "interrupted"
    assert rest.splitlines()[-1] == f"continue: python src/train.py resume={run}"
    assert checkpoint.load_checkpoint(run / "checkpoints/last.ckpt")["epoch"] >= 0
