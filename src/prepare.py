"""Verify a set of images before training on it, and pack it for speed.

python src/prepare.py data.root=DIR                   open every image, list the unreadable ones
python src/prepare.py data=imagenet data.root=DIR     the same, and insist on the 1000 classes
python src/prepare.py data.root=DIR pack=true out=DIR shorter side 256, in memory-mapped shards
python src/prepare.py data.root=DIR pack=true out=DIR size=original
python src/prepare.py data.root=DIR on_bad=quarantine unreadable images are left out of training

After a kill the same command goes on where it was.
"""

import hydra
from omegaconf import DictConfig

from deeper.cli import main as cli


@hydra.main(version_base="1.3", config_path=cli.CONFIGS, config_name="prepare")
@cli.task
def main(cfg: DictConfig) -> None:
    from deeper.prepare.request import preparation

    preparation(cfg).run()


if __name__ == "__main__":
    cli.start(main)
