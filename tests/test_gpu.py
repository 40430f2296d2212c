"""What only a CUDA GPU can show: its number formats, its process groups, its arithmetic."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
import torch.nn.functional as F
from driver import await_rows, differences, outcome
from entry import PROJECT, command, record, rows, run_dirs, shell, small
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from deeper import checkpoint
from deeper.models.googlenet import GoogLeNet
from deeper.models.heads import AuxHead, AvgPoolHead
from deeper.models.inception import Reduced
from deeper.models.init import He
from deeper.models.lrn import LocalResponseNorm
from deeper.models.norm import LRN
from deeper.models.preprocess import Preprocess
from deeper.runs import build as assemble
from deeper.training.loss import CrossEntropy
from deeper.training.metrics import TopK

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="needs a CUDA GPU; `make gpu` runs this where one is"
    ),
    pytest.mark.filterwarnings("default"),  # of a driver or a build of torch that is not the lock's
]
TINY = "model.width=0.125"
CLASSES = [f"class {i}" for i in range(10)]


def start(images: Path, logs: Path, *words: str, **environment: str) -> tuple[Path, str]:
    """The directory of a run that takes seconds, and what it printed."""
    given = {word.partition("=")[0] for word in words}
    brief = [word for word in small(images, logs) if word.partition("=")[0] not in given]
    result = shell(*brief, *words, **environment)
    assert result.returncode == 0, result.stderr
    (run,) = run_dirs(logs)
    return run, result.stdout


def on_disk(root: Path, split: str) -> int:
    return len(list((root / split).rglob("*.JPEG")))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """The embedded data, the baseline trained on it in bf16, and what that printed."""
    root = tmp_path_factory.mktemp("embedded") / "synthetic"
    logs = tmp_path_factory.mktemp("trained")
    where = [f"paths.data={root.parent}", f"paths.logs={logs}"]
    words = [*where, "trainer=gpu", "precision=bf16", "epochs=8"]
    result = shell(*words)
    assert result.returncode == 0, result.stderr
    (run,) = run_dirs(logs)
    return root, run, result.stdout


def test_bf16_trains_and_counts_every_image_once(trained):
    root, run, printed = trained
    assert "precision bf16 (as asked)" in printed
    assert torch.cuda.get_device_name() in printed
    results = record(run)["results"]
    assert results["test/n"] == on_disk(root, "val")
    held = int(results["val/n"])
    assert f"{on_disk(root, 'train') - held:,} train · {held} val" in printed


def test_the_loss_falls_and_the_network_learns(trained):
    """Chance is 10 %; on a CPU, in fp32, the same words came to 92 %."""
    _, run, _ = trained
    losses = [row["train/loss"] for row in rows(run) if "train/loss" in row]
    assert len(losses) > 10
    assert losses[-1] < 0.7 * losses[0]
    assert record(run)["results"]["val/top1"] > 0.4


def test_a_bf16_checkpoint_is_as_good_on_the_cpu_in_fp32(trained, tmp_path):
    root, run, _ = trained
    words = [f"run={run}", "trainer=cpu", "precision=fp32", f"paths.logs={tmp_path}"]
    result = shell(*words, script="eval", OMP_NUM_THREADS="4")
    assert result.returncode == 0, result.stderr
    there, here = record(run)["results"], record(run_dirs(tmp_path)[0])["results"]
    assert here["test/n"] == there["test/n"] == on_disk(root, "val")
    assert here["test/top1"] == pytest.approx(there["test/top1"], abs=0.03)
    assert here["test/loss"] == pytest.approx(there["test/loss"], rel=0.1)


def test_auto_precision_goes_by_the_compute_capability(images, tmp_path):
    _, printed = start(images, tmp_path, "trainer=gpu", "precision=auto", TINY, "test=false")
    major, minor = torch.cuda.get_device_capability()
    name, has = ("bf16", "has") if major >= 8 else ("fp32", "has no")
    expected = f"precision {name} (auto: compute capability {major}.{minor} {has} bfloat16)"
    assert expected in printed


def test_fp16_goes_on_with_the_scale_that_was_saved(images, tmp_path):
    words = ["trainer=gpu", "precision=fp16", TINY, "test=false", "epochs=2"]
    run, _ = start(images, tmp_path, *words, "trainer.max_epochs=1")
    last = run / "checkpoints/last.ckpt"
    content = checkpoint.load_checkpoint(last)
    scaler = content["MixedPrecision"]
    assert {"scale", "growth_factor", "backoff_factor", "_growth_tracker"} <= set(scaler)

    # No new scaler has these after a few steps, and at this scale no gradient overflows.
    scaler |= {"scale": 16.0, "_growth_tracker": 40}
    checkpoint.save_checkpoint(content, last)
    again = shell(f"resume={run}", "trainer.max_epochs=2")
    assert again.returncode == 0, again.stderr
    resumed = torch.load(last, map_location="cpu", weights_only=True)
    steps = resumed["global_step"] - content["global_step"]
    assert steps > 0
    assert resumed["MixedPrecision"]["scale"] == 16
    assert resumed["MixedPrecision"]["_growth_tracker"] == 40 + steps


@pytest.mark.skipif(find_spec("triton") is None, reason="torch.compile needs Triton on a GPU")
@pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang")))
    or not Path(sysconfig.get_path("include"), "Python.h").exists(),
    reason="Triton needs a C compiler and Python's headers",
)
def test_what_was_compiled_loads_eagerly(images, tmp_path):
    words = ["trainer=gpu", "precision=bf16", "compile=true", TINY]
    run, _ = start(images, tmp_path / "train", *words, HOME=str(tmp_path))
    state = torch.load(run / "checkpoints/last.ckpt", map_location="cpu", weights_only=True)
    assert not any("_orig_mod" in key for key in state["state_dict"])
    words = [f"run={run}", "trainer=gpu", "precision=bf16", f"paths.logs={tmp_path / 'eval'}"]
    judged = shell(*words, script="eval")
    assert judged.returncode == 0, judged.stderr
    (file,) = run_dirs(tmp_path / "eval")
    assert record(file)["results"]["test/n"] == record(run)["results"]["test/n"] == 48


def test_nccl_trains_in_one_process(images, tmp_path):
    words = ["trainer=ddp", "trainer.devices=1", "precision=bf16", TINY, "data.limit=null"]
    run, printed = start(images, tmp_path, *words)
    assert "16 global = 16 micro × 1 processes × 1 accumulated" in printed
    assert torch.cuda.get_device_name() in printed
    assert record(run)["results"]["test/n"] == on_disk(images, "val")
    assert len(list((tmp_path / "train/runs").iterdir())) == 1


def test_stopped_within_an_epoch_it_goes_on_bit_for_bit(images, tmp_path):
    """With deterministic kernels, as a GPU's others may add up in any order."""
    words = ["trainer=gpu", "precision=bf16", TINY, "test=false", "epochs=30", "data.limit=null",
             "trainer.deterministic=true", "averaging=ema", "data.workers=1"]  # fmt: skip
    exact = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    whole, _ = start(images, tmp_path / "whole", *words, **exact)
    given = [word for word in small(images, tmp_path / "stopped") if word != "precision=fp32"]
    program = [sys.executable, str(PROJECT / "src/train.py"), *given, *words]
    process = subprocess.Popen(program, env=os.environ | exact, stdout=subprocess.DEVNULL)
    await_rows(tmp_path / "stopped", 12)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    (run,) = run_dirs(tmp_path / "stopped")
    steps = checkpoint.load_checkpoint(run / "checkpoints/last.ckpt")["global_step"]
    again = shell(f"resume={run}", **exact)
    assert again.returncode == 0, again.stderr
    assert steps < checkpoint.load_checkpoint(run / "checkpoints/last.ckpt")["global_step"]
    assert differences(outcome(whole), outcome(run)) == []


TWO_ON_ONE = """
import runpy, sys
import torch
from lightning.pytorch.strategies import DDPStrategy, StrategyRegistry

devices = [torch.device("cuda", 0)] * 2
StrategyRegistry.register(
    "ddp_two_on_one", DDPStrategy, parallel_devices=devices, process_group_backend="gloo"
)
sys.path.insert(0, SRC)
runpy.run_path(SRC + "/train.py", run_name="__main__")
"""
"""Starts a training whose two processes have the first GPU each; NCCL would refuse that."""


def test_two_processes_train_on_one_gpu(images, tmp_path):
    script = tmp_path / "two_on_one.py"
    script.write_text(TWO_ON_ONE.replace("SRC", repr(str(PROJECT / "src"))))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", str(script)]
    words = ["trainer=ddp", "trainer.devices=1", "trainer.strategy=ddp_two_on_one"]
    logs = tmp_path / "logs"
    result = command(*torchrun, *small(images, logs, *words, TINY, "data.limit=null"))
    assert result.returncode == 0, result.stderr
    (run,) = run_dirs(logs)
    assert "16 global = 8 micro × 2 processes × 1 accumulated" in result.stdout
    assert f"2 × {torch.cuda.get_device_name()}" in result.stdout
    assert record(run)["results"]["test/n"] == on_disk(images, "val")
    assert len(list((logs / "train/runs").iterdir())) == 1


def tiny_net() -> GoogLeNet:
    """Without batch statistics and dropout, so that halves of a batch add up to it; in float64."""
    return GoogLeNet(
        len(CLASSES),
        image_size=32,
        head=partial(AvgPoolHead, dropout=0.0),
        aux={"inception4a": partial(AuxHead, dropout=0.0)},
        norm=LRN(),
        block=Reduced,
        init=He(),
        width=0.125,
    ).to("cuda", torch.float64)


def some_batch() -> tuple[Tensor, Tensor]:
    """Images and labels, on the CPU, the same ones each time."""
    random = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, 32, 32, generator=random, dtype=torch.float64)
    return images, torch.randint(len(CLASSES), (8,), generator=random)


def take_step(net: nn.Module, images: Tensor, labels: Tensor) -> None:
    output, labels = net(images.to("cuda")), labels.to("cuda")
    F.cross_entropy(output.logits, labels).add(
        sum(F.cross_entropy(logits, labels) for logits in output.aux.values()), alpha=0.3
    ).backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()


def weights_and_gradients(net: nn.Module) -> dict[str, Tensor]:
    found = {name: value.detach().cpu() for name, value in net.named_parameters()}
    return found | {f"{name}.grad": value.grad.cpu() for name, value in net.named_parameters()}


def count(part: slice) -> dict[str, float]:
    """TopK of a part of 50 images, and where processes share the work, of all their parts."""
    random = torch.Generator().manual_seed(1)
    logits, losses = torch.randn(50, 10, generator=random), torch.rand(50, generator=random)
    labels = torch.randint(10, (50,), generator=random)
    valid = torch.rand(50, generator=random) < 0.9
    metric = TopK().to("cuda")
    metric.update(*(tensor[part].to("cuda") for tensor in (logits, labels, losses, valid)))
    return {name: value.item() for name, value in metric.compute().items()}


def half_the_work(rank: int, folder: Path) -> None:
    """What each of two processes does. The second starts from other weights, which are overruled."""
    store = dist.FileStore(str(folder / "store"), 2)
    dist.init_process_group(
        "gloo", store=store, rank=rank, world_size=2, timeout=timedelta(minutes=2)
    )
    net = tiny_net()
    with torch.no_grad():
        for value in net.parameters():
            value += rank
    images, labels = (tensor.chunk(2)[rank] for tensor in some_batch())
    take_step(DistributedDataParallel(net), images, labels)
    counts = count(slice(0, 30) if rank == 0 else slice(30, 50))
    torch.save((weights_and_gradients(net), counts), folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_on_one_gpu_are_as_one(tmp_path):
    """Over gloo, with all that is exchanged lying on the GPU."""
    torch.multiprocessing.spawn(half_the_work, (tmp_path,), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    net = tiny_net()
    take_step(net, *some_batch())
    for name, value in weights_and_gradients(net).items():
        assert torch.equal(found[0][0][name], found[1][0][name]), name
        scale = float(value.abs().max())
        assert float((found[0][0][name] - value).abs().max()) <= 1e-9 * scale, name
    expected = count(slice(0, 50))
    for _, counts in found:
        assert counts["loss"] == pytest.approx(expected["loss"], rel=1e-12)
        for name in ("n", "top1", "top5"):
            assert counts[name] == expected[name], name


@pytest.mark.parametrize("norm", ["bn", "lrn", "lrn_google", "none"])
def test_bf16_gradients_are_finite_for_every_norm(configs, norm):
    words = [f"model/norm={norm}", TINY, "model.image_size=32"]
    net = assemble.network(configs(*words), CLASSES).to("cuda")
    images, labels = some_batch()
    with torch.autocast("cuda", dtype=torch.bfloat16):
        output = net(images.float().to("cuda"))
        loss = CrossEntropy()(output, labels.to("cuda"))["loss"]
    assert output.logits.dtype == torch.bfloat16
    loss.backward()
    assert loss.isfinite()
    for name, value in net.named_parameters():
        assert value.grad is not None, name
        assert value.grad.isfinite().all(), name


def by_formula(x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """y = x / (k + alpha/size · Σ x²)^beta over channels c − size//2 … c + (size−1)//2."""
    padded = F.pad(x.square(), (0, 0, 0, 0, size // 2, (size - 1) // 2))
    return x / (k + alpha / size * padded.unfold(1, size, 1).sum(-1)) ** beta


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-10), (torch.float32, 1e-5), (torch.bfloat16, 2**-7)],
    ids=["fp64", "fp32", "bf16"],
)
@pytest.mark.parametrize(
    "constants", [(5, 1e-4, 0.75, 1.0), (11, 1.1e-3, 0.5, 2.0)], ids=["bvlc", "google"]
)
def test_lrn_agrees_with_the_formula_on_the_cpu(constants, dtype, tolerance):
    random = torch.Generator().manual_seed(0)
    x, g = (torch.randn(2, 64, 7, 7, generator=random, dtype=torch.float64) for _ in range(2))
    x, g = (30 * x).to(dtype), g.to(dtype)  # large enough for the small alphas to matter
    exact = x.to(torch.float64, copy=True).requires_grad_()
    here = x.to("cuda").requires_grad_()
    y = LocalResponseNorm(*constants)(here)
    y.backward(g.to("cuda"))
    z = by_formula(exact, *constants)
    z.backward(g.double())
    assert y.dtype == here.grad.dtype == dtype
    for value, reference in ((y.detach(), z.detach()), (here.grad, exact.grad)):
        torch.testing.assert_close(value.double().cpu(), reference, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_preprocessing_agrees_with_the_cpu(channels):
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (4, 3, 32, 32), generator=random, dtype=torch.uint8)
    images = images.contiguous(memory_format=torch.channels_last)
    preprocess = Preprocess([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], channels=channels)
    expected = preprocess(images)
    found = preprocess.to("cuda")(images.to("cuda"))
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-5)
