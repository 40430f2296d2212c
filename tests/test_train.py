"""The entry points as people start them."""

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

import pytest
import torch
from entry import PROJECT, command, hear_ctrl_c, record, rows, run_dirs, shell, small
from omegaconf import OmegaConf

from deeper import checkpoint

TINY = "model.width=0.125"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def test_a_run_leaves_what_the_readme_says(train):
    run = train("logger=[csv,tensorboard]", TINY)
    content = record(run)
    assert content["status"] == "finished"
    assert {"commit", "code", "versions", "hardware", "identity", "data", "overrides"} <= set(
        content
    )
    assert content["objective"] == content["results"]["val/top1"]
    assert content["results"]["test/n"] == 48
    for name in (
        "metrics.jsonl",
        ".hydra/config.yaml",
        "csv/version_0/metrics.csv",
        "checkpoints/best.ckpt",
    ):
        assert (run / name).exists(), name
    assert list((run / "tensorboard").glob("events*"))
    names = set().union(*rows(run))
    assert {
        "train/loss", "train/loss_main", "train/loss_aux/inception4a", "train/loss_aux/inception4d",
        "val/loss", "val/top1", "val/top5", "optim/lr", "grad_norm/conv1", "perf/images_per_s",
        "perf/data_wait", "test/top1",
    } <= names  # fmt: skip


def test_every_checkpoint_loads_without_unpickling_code(train):
    run = train("averaging=ema", TINY)
    for path in (run / "checkpoints").glob("*.ckpt"):
        loaded = torch.load(path, weights_only=True)
        assert loaded["deeper"]["format"] == checkpoint.FORMAT
        assert loaded["deeper"]["config"]["model"]["width"] == 0.125
        assert len(loaded["deeper"]["classes"]) == 10
        assert {"state_dict", "averaged_state_dict"} <= set(loaded)


def test_eval_needs_nothing_said_again(train, tmp_path):
    run = train("experiment=head_fc", "recipe=paper", TINY)
    result = shell(
        f"run={run}", "trainer=cpu", "precision=fp32", f"paths.logs={tmp_path / 'e'}", script="eval"
    )
    assert result.returncode == 0, result.stderr
    (file,) = (run / "eval").iterdir()
    written = json.loads(file.read_text())
    assert written["weights"] == "averaged"
    assert written["root"] == record(run)["overrides"][0].removeprefix("data.root=")
    for name, value in record(run)["results"].items():
        if name.startswith("test/"):
            assert written["results"][name] == pytest.approx(value, abs=1e-6), name
    assert record(run)["test_looks"] == 2
    again = shell(f"run={run}", "trainer=cpu", "split=val", "weights=live", script="eval")
    assert again.returncode == 0, again.stderr
    assert len(list((run / "eval").iterdir())) == 2
    assert record(run)["test_looks"] == 2  # the held-out slice is no test


def test_resume_goes_on_in_the_same_directory(images, tmp_path):
    first = shell(*small(images, tmp_path, TINY, "epochs=2", "trainer.max_epochs=1"))
    assert first.returncode == 0, first.stderr
    (run,) = run_dirs(tmp_path)
    again = shell(f"resume={run}", "trainer.max_epochs=2", f"paths.logs={tmp_path}")
    assert again.returncode == 0, again.stderr
    assert "resume: trainer.max_epochs 1 → 2" in again.stdout
    assert run_dirs(tmp_path) == [run]
    content = record(run)
    assert len(content["starts"]) == 2
    assert content["overrides"][0].startswith("data.root=")
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["epoch"] == 1
    (start,) = (run / ".hydra").glob("resume_*")
    assert (start / "overrides.yaml").exists()
    assert "max_epochs=1" in (run / ".hydra/overrides.yaml").read_text()
    assert [path.name for path in sorted((run / "csv").iterdir())] == ["version_0", "version_1"]
    assert [row["step"] for row in rows(run) if "val/top1" in row] == [3, 6]

    third = shell(f"resume={run}", "test=false", "trainer.log_every_n_steps=2")
    assert third.returncode == 0, third.stderr
    config = OmegaConf.load(run / "config.yaml")
    assert config.name == "baseline"
    assert config.trainer.max_epochs == 2  # of the second start
    assert config.trainer.log_every_n_steps == 2


@pytest.mark.parametrize(
    "change", ["model=timm", "seed=1", "model.width=0.5", "experiment=[no_aux]"]
)
def test_resume_changes_nothing_of_what_is_computed(train, change):
    run = train(TINY, "test=false")
    before = sorted(run.rglob("*"))
    refused = shell(f"resume={run}", change)
    assert refused.returncode == 2, refused.stderr
    assert f"{change} can't be changed now (trainer, precision, logger" in refused.stderr
    assert sorted(run.rglob("*")) == before


def test_rows_after_the_last_checkpoint_are_logged_anew(train):
    run = train(TINY, "test=false", "epochs=2", "trainer.max_epochs=1")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "train/loss": 1.0}\n{"step": 5, "tra')
    again = shell(f"resume={run}", "trainer.max_epochs=2")
    assert again.returncode == 0, again.stderr
    assert [row["step"] for row in rows(run) if "train/loss" in row] == [1, 2, 3, 4, 5, 6]


def test_a_new_run_never_writes_over_another(train, images, tmp_path):
    run = train(TINY, "test=false")
    before = (run / "run.json").read_text()
    refused = shell(*small(images, tmp_path, TINY, f'hydra.run.dir="{run}"'))
    assert refused.returncode == 2
    assert f"{run}: holds a run already; resume={run} goes on with it" in refused.stderr
    assert (run / "run.json").read_text() == before


def test_the_set_that_chose_is_no_test(images, tmp_path):
    refused = shell(*small(images, tmp_path, TINY, "data.val_from=official"))
    assert refused.returncode == 2
    assert "data.val_from=official: there is one official set" in refused.stderr
    assert run_dirs(tmp_path) == []


def test_resumed_at_an_epochs_start_it_is_the_uninterrupted_run(train, monkeypatch, tmp_path):
    words = ["epochs=3", "averaging=ema", "augment=paper", "data.workers=0", TINY]
    whole = train(*words)
    from deeper.callbacks.checkpoint import Checkpoint

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


def test_compiled_and_eager_load_each_other(train, monkeypatch):
    """In place, so the keys stay; the eager backend spares the test a compiler."""
    compile_in_place = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self: compile_in_place(self, backend="eager")
    )
    keys = []
    for word in ("compile=true", "compile=false"):
        run = train(word, TINY, "model/aux=none")
        keys.append(
            list(torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"])
        )
    assert keys[0] == keys[1]
    assert not any("_orig_mod" in key for key in keys[0])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("first", [True, False])
def test_a_run_goes_on_compiled_or_eager(images, tmp_path, first):
    words = ["epochs=2", "trainer.max_epochs=1", "model.width=0.25", f"compile={first}"]
    start = shell(*small(images, tmp_path, *words), HOME=str(tmp_path))
    assert start.returncode == 0, start.stderr
    (run,) = run_dirs(tmp_path)
    more = [f"resume={run}", "trainer.max_epochs=2", f"compile={not first}"]
    again = shell(*more, HOME=str(tmp_path))
    assert again.returncode == 0, again.stderr
    judged = shell(f"run={run}", "trainer=cpu", script="eval")
    assert judged.returncode == 0, judged.stderr


@pytest.mark.parametrize(
    "sweep",
    [
        ["experiment=baseline,no_aux"],
        pytest.param(["experiment=baseline,no_aux,head_fc", "seed=0,1"], marks=pytest.mark.slow),
    ],
)
def test_multirun_gives_a_process_and_a_directory_a_job(sweep, images, tmp_path):
    words = ["-m", *sweep, "logger=[csv,wandb]", TINY]
    result = shell(*words, *small(images, tmp_path))
    assert result.returncode == 0, result.stderr
    runs, jobs = run_dirs(tmp_path), math.prod(len(word.split(",")) for word in sweep)
    assert len(runs) == jobs
    assert len({run.parent for run in runs}) == 1
    assert [run.name.partition("-")[0] for run in runs] == [str(n) for n in range(jobs)]
    assert len({record(run)["identity"] for run in runs}) == jobs
    assert all(record(run)["results"]["test/n"] == 48 for run in runs)
    ended = [record(run)["ended"] for run in runs]
    again = shell(*words, *small(images, tmp_path))
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("has finished already") == jobs
    assert [record(run)["ended"] for run in runs] == ended
    offline = list((tmp_path / "wandb").glob("offline-run-*"))
    assert len(offline) == jobs
    assert len({path.name.partition("-")[2] for path in offline}) == jobs


def test_one_failed_job_leaves_the_others(images, tmp_path):
    words = ["-m", "data.batch_size=16,15", "trainer.accumulate_grad_batches=2", TINY]
    result = shell(*words, *[w for w in small(images, tmp_path) if "batch" not in w])
    assert result.returncode == 1
    assert "1 finished, 1 failed" in result.stdout
    assert len(run_dirs(tmp_path)) == 1


def test_wandb_without_key_or_network_records_offline(images, tmp_path):
    result = shell(*small(images, tmp_path, TINY, "logger=[csv,wandb]"))
    assert result.returncode == 0, result.stderr
    assert "W&B: no key found, so this run is recorded offline" in result.stdout
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    (file,) = folder.glob("*.wandb")
    wandb = str(PROJECT / ".venv/bin/wandb") if (PROJECT / ".venv").exists() else "wandb"
    shown = command(wandb, "leet", "inspect", "--summary", "--json", str(file), HOME=str(tmp_path))
    assert shown.returncode == 0, shown.stderr
    for key in ("train/loss", "val/top1", "test/top1", "optim/lr", "perf/images_per_s"):
        assert key in shown.stdout, key


def test_two_processes_evaluate_as_one(train, tmp_path):
    run = train(TINY, "data.limit=null")
    found = []
    for trainer in ("cpu", "ddp_cpu"):
        words = [
            f"run={run}",
            f"trainer={trainer}",
            "precision=fp32",
            f"paths.logs={tmp_path / trainer}",
        ]
        result = shell(*words, "data.eval_batch_size=7", script="eval")
        assert result.returncode == 0, result.stderr
        newest = max((run / "eval").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        found.append(json.loads(newest.read_text())["results"])
    assert found[0]["test/n"] == 50  # does not divide by 2 × 7
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_two_processes_train_and_leave_one_directory(images, tmp_path):
    result = shell(*small(images, tmp_path, TINY, "trainer=ddp_cpu"))
    assert result.returncode == 0, result.stderr
    (run,) = run_dirs(tmp_path)
    assert "16 global = 8 micro × 2 processes × 1 accumulated" in result.stdout
    assert record(run)["results"]["test/n"] == 48
    assert len(list((tmp_path / "train/runs").iterdir())) == 1


def test_torchrun_leaves_one_directory(images, tmp_path):
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    words = [str(PROJECT / "src/train.py"), *small(images, tmp_path, TINY, "trainer=ddp_cpu")]
    result = command(*start, *words)
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "train/runs").iterdir())) == 1
    assert record(run_dirs(tmp_path)[0])["results"]["test/n"] == 48


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
    assert len(list((tmp_path / "train/runs").iterdir())) == 1
    assert record(run_dirs(tmp_path)[0])["results"]["test/n"] == 48


def test_srun_leaves_one_directory(images, tmp_path):
    if shutil.which("sinfo") is None or subprocess.run(["sinfo"], capture_output=True).returncode:
        pytest.skip("no SLURM cluster here")
    nodes = ["trainer=ddp_cpu", "trainer.num_nodes=2", "trainer.devices=1"]
    words = [str(PROJECT / "src/train.py"), *small(images, tmp_path, TINY, *nodes)]
    cluster = {"SLURM_CONF": os.environ["SLURM_CONF"]} if "SLURM_CONF" in os.environ else {}
    result = command("srun", "-N2", "--ntasks-per-node=1", sys.executable, *words, **cluster)
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "train/runs").iterdir())) == 1
    assert record(run_dirs(tmp_path)[0])["results"]["test/n"] == 48


@pytest.mark.parametrize("norm", ["bn", "lrn", "lrn_google", "none"])
def test_bf16_on_cpu_runs_for_every_norm(train, norm):
    words = [
        "precision=bf16",
        f"model/norm={norm}",
        "model/init=bvlc",
        "data.limit=8",
        TINY,
        "test=false",
    ]
    train(*words, "data.batch_size=4", "data.eval_batch_size=4", "data.val_from=official")


def test_auto_precision_says_what_and_why(train, capsys):
    train("precision=auto", TINY)
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("precision"))
    assert line.split("(auto: ")[0].split()[1] in ("fp32", "bf16")
    assert "bfloat16" in line


def test_another_network_trains_and_evaluates(train, tmp_path):
    run = train("model=timm", "model.name=mobilenetv3_small_050")
    result = shell(f"run={run}", "trainer=cpu", f"paths.logs={tmp_path / 'e'}", script="eval")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "words", [["--cfg", "job"], ["--help"], ["-sc", "query=bash"], ["experiment=no_auxx"]]
)
def test_what_needs_no_torch_does_not_import_it(words):
    """Seconds are measured by `make startup`; what decides them is this import."""
    code = (
        "import sys, runpy; sys.argv = ['train.py', *sys.argv[1:]]\n"
        "try: runpy.run_path(PATH, run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print('torch imported:', 'torch' in sys.modules)"
    ).replace("PATH", repr(str(PROJECT / "src/train.py")))
    code = f"import sys; sys.path.insert(0, {str(PROJECT / 'src')!r})\n" + code
    assert (
        "torch imported: False"
        in command(sys.executable, "-c", code, *words, COMP_LINE="x experiment=no").stdout
    )


def test_help_lists_the_words_of_its_own_entry_point(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text("")
    train = shell("--help", f"--config-dir={tmp_path}").stdout
    assert "python src/train.py experiment=no_aux" in train
    assert re.search(r"^  experiment=.*\|mine\|", train, re.M)
    assert "  model/head=avgpool|fc|fc4096|nin\n" in train
    assert "_common" not in train
    judge = shell("--help", script="eval").stdout
    assert "  trainer=auto|cpu" in judge
    assert "experiment=" not in judge


@pytest.mark.parametrize("word", ["--help", "--cfg=job", "experiment=no_auxx", "seed=fast"])
def test_what_needs_no_torch_is_fast(word):
    """1.5 s on two quiet cores; the median of five here, since a loaded machine takes its time."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, str(PROJECT / "src/train.py"), *word.replace("--cfg=", "--cfg ").split()],
            capture_output=True,
        )  # fmt: skip
        seconds.append(time.perf_counter() - start)
    assert sorted(seconds)[2] < 4, seconds


def test_ctrl_c_says_so_and_keeps_the_last_checkpoint(images, tmp_path):
    words = [*small(images, tmp_path, TINY, "epochs=1000"), "test=false"]
    start = subprocess.Popen(
        [sys.executable, str(PROJECT / "src/train.py"), *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c,
    )  # fmt: skip
    assert start.stdout is not None
    try:
        for line in start.stdout:
            if line.startswith("epoch    2/"):  # the first one's checkpoint is written by now
                break
        start.send_signal(signal.SIGINT)
        start.communicate(timeout=60)
    finally:
        start.kill()
        start.communicate()
    assert start.returncode == 130
    (run,) = run_dirs(tmp_path)
    assert record(run)["status"] == "interrupted"
    assert checkpoint.load(run / "checkpoints/last.ckpt")["epoch"] >= 0
