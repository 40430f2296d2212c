"""The four output formats of predictions: table, tsv, json, html."""

import json
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from deeper.reporting.table import printable


class Guess(NamedTuple):
    name: str
    """Of the class, as in the training."""
    words: str
    probability: float


class Prediction(NamedTuple):
    file: str
    guesses: Sequence[Guess] = ()
    """The most probable class first; none where the prediction failed."""
    thumbnail: bytes = b""
    """JPEG; empty where the format shows no images."""
    why: str = ""
    """The reason of a failure."""


class TableFormat:
    """For people: the name of an image, and below it a line for each class."""

    thumbnails = False
    """Whether predictions need one."""
    head = end = ""

    def format(self, prediction: Prediction) -> str:
        lines = [
            f"{guess.probability:8.2%}  {printable(guess.words)}" for guess in prediction.guesses
        ]
        return "\n".join([printable(prediction.file), *lines]) + "\n"

    def unreadable(self, prediction: Prediction) -> str:
        """Text for a failed prediction; standard error names it anyway."""
        return ""


class TsvFormat(TableFormat):
    """A header, and a line for each class. Backslash, tab and newline in names are escaped."""

    head = "file\trank\tclass\twords\tprobability\n"

    def format(self, prediction: Prediction) -> str:
        return "".join(
            f"{_escaped(prediction.file)}\t{rank}\t{_escaped(name)}\t{_escaped(words)}\t{p:.6f}\n"
            for rank, (name, words, p) in enumerate(prediction.guesses, start=1)
        )


class JsonFormat(TableFormat):
    """A list with an object for each image, each on its own line."""

    head, end = "[", "\n]\n"
    separator = "\n"

    def format(self, prediction: Prediction) -> str:
        top = [
            {"class": name, "words": words, "probability": round(p, 6)}
            for name, words, p in prediction.guesses
        ]
        # Bytes that are not UTF-8 are surrogates in Python, which only ASCII escapes can carry.
        unicode = prediction.file.isprintable()
        text = json.dumps({"file": prediction.file, "top": top}, ensure_ascii=not unicode)
        separator, self.separator = self.separator, ",\n"
        return separator + text


class HtmlFormat(TableFormat):
    """One self-contained page with a thumbnail and the classes of each image."""

    thumbnails = True
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
        guesses = "".join(
            f"<li><span>{escape(printable(guess.words))}</span><span>{guess.probability:.1%}</span></li>"
            for guess in prediction.guesses
        )
        name, image = escape(printable(prediction.file)), b64encode(prediction.thumbnail).decode()
        return (
            f'<figure><img alt="{name}" src="data:image/jpeg;base64,{image}">'
            f"<figcaption>{name}</figcaption><ol>{guesses}</ol></figure>\n"
        )

    def unreadable(self, prediction: Prediction) -> str:
        text = escape(f"{printable(prediction.file)}: {printable(prediction.why)}")
        return f"<figure><figcaption>{text}</figcaption></figure>\n"


FORMATS = {"table": TableFormat, "tsv": TsvFormat, "json": JsonFormat, "html": HtmlFormat}


def _escaped(text: str) -> str:
    for plain, escaped in {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}.items():
        text = text.replace(plain, escaped)
    return text
