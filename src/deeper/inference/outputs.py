"""What a network says of pictures, row by row, in the forms that people and programs read."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from deeper.inference.inputs import spelt


class Guess(NamedTuple):
    name: str
    """Of the class, as its training had it."""
    words: str
    probability: float


class Row(NamedTuple):
    file: str
    guesses: Sequence[Guess]
    """The most probable first."""
    thumbnail: bytes | None = None
    """JPEG, where the report shows pictures."""


class Table:
    """For people: a picture's name, and below it a line for each guess."""

    thumbnails = False
    """Whether rows need them."""

    def __init__(self, title: str) -> None:
        self.title = title

    def start(self) -> str:
        return ""

    def row(self, row: Row) -> str:
        lines = [f"{guess.probability:8.2%}  {spelt(guess.words)}" for guess in row.guesses]
        return "\n".join([spelt(row.file), *lines]) + "\n"

    def bad(self, file: str, why: str) -> None:
        """A picture that could not be read; standard error has said so."""

    def end(self) -> str:
        return ""


class Tsv(Table):
    """A header, and a line for each guess; tab, newline and backslash in a name are escaped by one."""

    def start(self) -> str:
        return "file\trank\tclass\twords\tprobability\n"

    def row(self, row: Row) -> str:
        return "".join(
            f"{_field(row.file)}\t{rank}\t{_field(name)}\t{_field(words)}\t{probability:.6f}\n"
            for rank, (name, words, probability) in enumerate(row.guesses, start=1)
        )


class Json(Table):
    """A list with an object for each picture, on a line of its own."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self._before = "\n"

    def start(self) -> str:
        return "["

    def row(self, row: Row) -> str:
        top = [
            {"class": name, "words": words, "probability": round(probability, 6)}
            for name, words, probability in row.guesses
        ]
        line = {"file": row.file, "top": top}
        text = json.dumps(line, ensure_ascii=not _is_unicode(row.file))
        before, self._before = self._before, ",\n"
        return before + text

    def end(self) -> str:
        return "\n]\n"


def _field(text: str) -> str:
    for plain, escaped in {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}.items():
        text = text.replace(plain, escaped)
    return text


def _is_unicode(name: str) -> bool:
    """False for bytes that are no UTF-8, which Python keeps as halves of surrogate pairs."""
    return not any("\ud800" <= character <= "\udfff" for character in name)
