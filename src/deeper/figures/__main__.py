"""python -m deeper.figures     draws all pictures of docs/figures anew"""

from collections.abc import Callable

from deeper.config.groups import PROJECT
from deeper.figures import (
    architecture,
    augmentation,
    blocks,
    crops,
    curves,
    filters,
    forest,
    gradients,
    saliency,
)
from deeper.figures.picture import Picture

FOLDER = PROJECT / "docs/figures"

FIGURES: dict[str, Callable[[], Picture]] = {
    "architecture.svg": architecture.committed,
    "augmentation.png": augmentation.committed,
    "blocks.svg": blocks.committed,
    "crops.png": crops.committed,
    "curves.svg": curves.committed,
    "filters.png": filters.committed,
    "forest.svg": forest.committed,
    "gradients.svg": gradients.committed,
    "saliency.png": saliency.committed,
}
"""File → what draws it."""

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, draw in FIGURES.items():
        draw().save(FOLDER / name)
        print(f"docs/figures/{name}  {(FOLDER / name).stat().st_size / 1e3:.0f} kB")
