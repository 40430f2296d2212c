"""The four output formats of predictions: table, tsv, json, html."""

import json
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import NamedTuple

from PIL.Image import Image

from deeper.data.images.encoded import Encoded
from deeper.table import printable


class Guess(NamedTuple):
    name: str
    """Of the class, as in the training."""
    words: str
    probability: float


class Prediction(NamedTuple):
    file: str
    image: Encoded | None = None
    guesses: Sequence[Guess] = ()
    """The most probable class first; none where the prediction failed."""
    why: str = ""
    """The reason of a failure."""


class TableFormat:
    """For people: the name of an image, and below it a line for each class."""

    head = end = ""

    def format(self, prediction: Prediction) -> str:
        lines = [f"{p:8.2%}  {printable(words)}" for _, words, p in prediction.guesses]
        return "\n".join([printable(prediction.file), *lines]) + "\n"

    def unreadable(self, prediction: Prediction) -> str:
        """Text for a failed prediction; standard error names it anyway."""
        return ""


class TsvFormat(TableFormat):
    """A header, and a line for each class. Backslash, tab and newline in names are escaped."""

    head = "file\trank\tclass\twords\tprobability\n"
    escapes = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

    def format(self, prediction: Prediction) -> str:
        lines = []
        for rank, (name, words, p) in enumerate(prediction.guesses, start=1):
            file, name, words = (t.translate(self.escapes) for t in (prediction.file, name, words))
            lines.append(f"{file}\t{rank}\t{name}\t{words}\t{p:.6f}\n")
        return "".join(lines)


class JsonFormat(TableFormat):
    """A list with an object for each image, each on its own line."""

    head, end = "[", "\n]\n"
    separator = "\n"

    def format(self, prediction: Prediction) -> str:
        top = [
            {"class": name, "words": words, "probability": round(p, 6)}
            for name, words, p in prediction.guesses
        ]
        separator, self.separator = self.separator, ",\n"
        return separator + json.dumps({"file": prediction.file, "top": top})


class HtmlFormat(TableFormat):
    """One self-contained page with a thumbnail and the classes of each image."""

    head = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Predictions</title>
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>
body { margin: 2rem; font: 1rem/1.4 system-ui, sans-serif; color-scheme: light dark; }
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); }
figure { margin: 0; padding: .75rem; border: 1px solid #8886; border-radius: .5rem; }
img { width: 100%; height: 12rem; object-fit: contain; }
figcaption { overflow-wrap: anywhere; } ol { list-style: none; padding: 0; }
li { display: flex; justify-content: space-between; } li:first-child { font-weight: bold; }
</style></head><body><h1>Predictions</h1><main>
"""
    end = "</main></body></html>\n"

    def format(self, prediction: Prediction) -> str:
        assert prediction.image is not None  # noqa: S101
        guesses = "".join(
            f"<li><span>{escape(printable(words))}</span><span>{p:.1%}</span></li>"
            for _, words, p in prediction.guesses
        )
        name = escape(printable(prediction.file))
        return (
            f'<figure><img alt="{name}" src="{thumbnail(prediction.image)}">'
            f"<figcaption>{name}</figcaption><ol>{guesses}</ol></figure>\n"
        )

    def unreadable(self, prediction: Prediction) -> str:
        text = escape(f"{printable(prediction.file)}: {printable(prediction.why)}")
        return f"<figure><figcaption>{text}</figcaption></figure>\n"


FORMATS = {"table": TableFormat, "tsv": TsvFormat, "json": JsonFormat, "html": HtmlFormat}


def thumbnail(image: Image | Encoded, side: int = 320) -> str:
    """A data URL with a JPEG of at most `side` pixels."""
    small = image.pil() if isinstance(image, Encoded) else image.convert("RGB")
    stream = BytesIO()
    small.thumbnail((side, side))
    small.save(stream, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{b64encode(stream.getvalue()).decode()}"
