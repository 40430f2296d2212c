"""Finds and reads a file of weights that others published or trained, by the suffix of its name."""

from pathlib import Path
from pickle import UnpicklingError

from torch import Tensor

from deeper.models.pretrained import caffe, onnx, published, torchvision

READABLE = (
    "a state dict of torchvision's googlenet (.pth), a .caffemodel, a graph (.onnx, which needs "
    "pip install -e '.[export]'), a checkpoint of this project (.ckpt)"
)
BVLC_WORDS = ("model=googlenet_bvlc", "preprocess=bvlc")
TORCHVISION_WORDS = ("model=googlenet_torchvision", "preprocess=symmetric")


def locate(source: str, folder: Path) -> Path:
    """The file that `source` names, a path or a published name; the latter is downloaded to `folder`."""
    if source in published.PUBLISHED:
        return published.download(source, folder)
    path = Path(source).expanduser()
    if not path.is_file():
        names = ", ".join(published.PUBLISHED)
        raise ValueError(f"model.pretrained={source}: no such file; or choose from {names}")
    return path


def read_weights(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The weights under our names, and the words of the command line that choose their network.

    Raises `ValueError` for what cannot be read.
    """
    readers = {".caffemodel": (caffe.read, BVLC_WORDS), ".onnx": (onnx.read, BVLC_WORDS)}
    reader, words = readers.get(path.suffix, (torchvision.read, TORCHVISION_WORDS))
    try:
        state = reader(path)
        if "head.classifier.weight" not in state:
            raise ValueError("it has no main classifier; is it a GoogLeNet?")
    except Exception as error:  # a damaged file raises whatever its bytes lead a reader to
        # torch's own message advises to load the file unsafely.
        unsafe = isinstance(error, UnpicklingError)
        why = "torch.load(weights_only=True) refuses it" if unsafe else error or repr(error)
        raise ValueError(f"{path}: cannot be read ({why}); what is read: {READABLE}") from error
    has_aux = any(name.startswith("aux.") for name in state)
    return state, [*words, *([] if has_aux else ["model/aux=none"])]
