"""What the machine can do: multiply matrices, copy memory, decode JPEG."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image

from deeper.benchmarks.setting import Setting
from deeper.benchmarks.timing import Contest, Pass
from deeper.data.images.encoded import Encoded

REPEATS = 10

COPIED = {"cpu": 2**28, "cuda": 2**30}
"""Bytes of the tensor that is copied, on a CPU more than a core's share of its caches."""


def contests(setting: Setting) -> Iterator[Contest]:
    n = 2048 if setting.device.type == "cpu" else 8192
    n = min(n, setting.size * setting.batch_size)  # small where all else is
    formats = {"fp32": torch.float32}
    if setting.has_bf16:
        formats["bf16"] = torch.bfloat16
    products = {name: multiplication(n, dtype, setting.device) for name, dtype in formats.items()}
    work = REPEATS * 2 * n**3 / 1e9
    yield Contest(f"matrix multiply {n}³", products, "GFLOP/s", work, baselines=("fp32",))

    traffic = REPEATS * 2 * COPIED[setting.device.type]
    copy = copying(traffic, setting.device)
    yield Contest("memory, read and written", {"copy": copy}, "GB/s", traffic / 1e9)

    images = jpegs(setting.root)
    decoders: dict[str, Pass] = {
        "ours": lambda: [Encoded(data, "").pixels() for data in images],
        "PIL": lambda: [Image.open(BytesIO(data)).convert("RGB") for data in images],
    }
    kind = "photos" if setting.root else "generated images of 500×375 px"
    title = f"JPEG decode, {len(images)} {kind}, one thread"
    yield Contest(title, decoders, "images/s", len(images), baselines=("PIL",))


def multiplication(n: int, dtype: torch.dtype, device: torch.device) -> Pass:
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)

    def run() -> None:
        for _ in range(REPEATS):
            torch.mm(a, b, out=out)

    return run


def copying(traffic: int, device: torch.device) -> Pass:
    """A pass that reads and writes `traffic` bytes in all, by copies."""
    size = min(COPIED[device.type], traffic // 2)
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)

    def run() -> None:
        for _ in range(max(round(traffic / 2 / size), 1)):
            target.copy_(source)

    return run


def jpegs(root: Path | None, count: int = 100) -> list[bytes]:
    """Files of `root/train/*/*`; without a root, smooth noise of quality 90."""
    if root:
        files = sorted((root / "train").glob("*/*.[jJ][pP]*[gG]"))
        return [path.read_bytes() for path in files[:: max(len(files) // count, 1)][:count]]
    random, encoded = torch.Generator().manual_seed(0), []
    for noise in torch.rand(count // 4, 1, 3, 24, 32, generator=random):
        pixels = F.interpolate(noise, (375, 500), mode="bicubic").clamp(0, 1)[0].mul(255).byte()
        file = BytesIO()
        Image.fromarray(pixels.movedim(0, 2).numpy()).save(file, "JPEG", quality=90)
        encoded.append(file.getvalue())
    return encoded
