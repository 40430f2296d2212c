"""preprocessing.json: the input of an exported network, how to make it, and the meaning of its output."""

from typing import Any

from deeper import __version__
from deeper.config.instantiate import resolved
from deeper.data.classes import words
from deeper.evaluation.protocol import Single
from deeper.files import file_digest
from deeper.inference.model import Trained
from deeper.models.preprocess import Preprocess
from deeper.runs import record

FILE = "preprocessing.json"


def describe(trained: Trained) -> dict[str, Any]:
    """Input, output, crop, normalisation, classes and origin of a network, as values of JSON."""
    size = trained.image_size
    return {
        "format": 1,
        "input": {
            "name": "images", "dtype": "uint8", "shape": ["batch", 3, size, size],
            "channels": "rgb", "range": [0, 255],
        },
        "output": {
            "name": "logits", "dtype": "float32", "shape": ["batch", len(trained.classes)],
            "probabilities": "softmax over the classes",
        },
        "size": size,
        "crop": _crop(trained),
        "normalisation": _normalisation(trained),
        "classes": [
            {"label": label, "name": name, "words": words(name)}
            for label, name in enumerate(trained.classes)
        ],
        "source": _source(trained),
    }  # fmt: skip


def _crop(trained: Trained) -> dict[str, Any]:
    """The crop in steps that give exactly the pixels of the evaluation."""
    share, size = trained.eval_crop, trained.image_size
    node = resolved(trained.config.protocol)
    crop = {"protocol": node, "share": share, "size": size}
    if node["_target_"] != f"{Single.__module__}.{Single.__name__}":
        return crop | {"steps": "those of the protocol, which its own code says"}
    shorter = round(size / share)
    return crop | {
        "resize": shorter,
        "steps": [
            "RGB as the file stores it: EXIF rotation and transparency are ignored",
            f"shorter = {shorter}, longer = int({shorter} * max(width, height) / min(width, height))",
            "Pillow image.resize((new_width, new_height), Image.Resampling.BILINEAR), which antialiases",
            f"left, top = round((new_width - {size}) / 2), round((new_height - {size}) / 2), "
            f"a half to the even number",
            f"image.crop((left, top, left + {size}, top + {size}))",
            f"the same as torchvision's Resize({shorter}) and CenterCrop({size})",
        ],
    }


def _normalisation(trained: Trained) -> dict[str, Any]:
    """Which files contain the normalisation, and its constants for those that do not."""
    within = {"inside": ["onnx", "torch_export"], "outside": ["safetensors"]}
    module = trained.preprocess
    if not isinstance(module, Preprocess):
        return within | {"module": type(module).__name__}
    # Each float32 as its shortest decimal: 0.485, not 0.48500001430511475.
    mean, std = ([float(str(v)) for v in c.flatten().numpy()] for c in (module.mean, module.std))
    return within | {
        "formula": "(x * scale - mean) / std, after the channels are in this order",
        "channels": module.channels,
        "scale": module.scale,
        "mean": mean,
        "std": std,
    }


def _source(trained: Trained) -> dict[str, Any]:
    """The network's origin, without paths, since the file is given to others."""
    run = trained.path.absolute().parent.parent
    model = trained.config.model
    return {
        "network": model.get("name") or str(model["_target_"]).rpartition(".")[2],
        "run": run.name if (run / record.FILE).exists() else None,
        "checkpoint": trained.path.name,
        "sha256": file_digest(trained.path),
        "weights": trained.weights,
        "deeper": __version__,
    }
