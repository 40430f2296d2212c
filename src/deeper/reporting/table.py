"""What a run found, as a table on the screen."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table


def show(found: Mapping[str, float], title: str) -> None:
    """A row a split: images, top-1, top-5, loss."""
    table = Table(title=title, title_justify="left")
    for column in ("split", "images", "top-1 %", "top-5 %", "loss"):
        table.add_column(column, justify="left" if column == "split" else "right")
    for split in ("val", "test"):
        if f"{split}/top1" in found:
            table.add_row(
                split,
                f"{found[f'{split}/n']:,.0f}",
                f"{found[f'{split}/top1']:.2%}".rstrip("%"),
                f"{found[f'{split}/top5']:.2%}".rstrip("%"),
                f"{found[f'{split}/loss']:.4f}",
            )
    Console().print(table)
