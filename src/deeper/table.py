"""Tables on the screen."""

import os
from collections.abc import Mapping, Sequence

from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table

WIDE = 240
"""Columns of what is printed to no terminal."""


def show_table(
    title: str, columns: Mapping[str, JustifyMethod], rows: Sequence[Sequence[str]]
) -> None:
    """Print a table, as wide as the terminal; elsewhere up to `WIDE` columns, for pagers and files.

    Brackets in cells are shown as they are, not read as markup.
    """
    table = Table(title=escape(title), title_justify="left")
    for column, justify in columns.items():
        table.add_column(column, justify=justify)
    for row in rows:
        table.add_row(*map(escape, row))
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE
    console.print(table)


def printable(text: str) -> str:
    """`text` on one line: control characters and bytes that are not UTF-8 become escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def show_accuracy(results: Mapping[str, float], title: str) -> None:
    """A row for each split: images, top-1, top-5, loss."""
    columns: dict[str, JustifyMethod]
    columns = {"split": "left", "images": "right", "top-1 %": "right", "top-5 %": "right",
               "loss": "right"}  # fmt: skip
    rows = [
        [
            split,
            f"{results[f'{split}/n']:,.0f}",
            f"{results[f'{split}/top1']:.2%}".rstrip("%"),
            f"{results[f'{split}/top5']:.2%}".rstrip("%"),
            f"{results[f'{split}/loss']:.4f}",
        ]
        for split in ("val", "test")
        if f"{split}/top1" in results
    ]
    show_table(title, columns, rows)
