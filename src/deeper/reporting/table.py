"""What a run found, as a table on the screen."""

from collections.abc import Mapping, Sequence

from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table


def draw(title: str, columns: Mapping[str, JustifyMethod], rows: Sequence[Sequence[str]]) -> None:
    """On the screen; brackets in a name are no markup."""
    table = Table(title=escape(title), title_justify="left")
    for column, justify in columns.items():
        table.add_column(column, justify=justify)
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)


def show(found: Mapping[str, float], title: str) -> None:
    """A row a split: images, top-1, top-5, loss."""
    columns: dict[str, JustifyMethod]
    columns = {"split": "left", "images": "right", "top-1 %": "right", "top-5 %": "right",
               "loss": "right"}  # fmt: skip
    rows = [
        [
            split,
            f"{found[f'{split}/n']:,.0f}",
            f"{found[f'{split}/top1']:.2%}".rstrip("%"),
            f"{found[f'{split}/top5']:.2%}".rstrip("%"),
            f"{found[f'{split}/loss']:.4f}",
        ]
        for split in ("val", "test")
        if f"{split}/top1" in found
    ]
    draw(title, columns, rows)
