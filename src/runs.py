"""Your runs: list, show, compare, remove, send. Reads files alone, and imports torch only to send.

python src/runs.py                            all runs, the newest first
python src/runs.py ls logs/train/multiruns/NAME       those of a multirun, or of another folder
python src/runs.py show RUN                   what it was, what it found, what it left
python src/runs.py diff RUN RUN               settings, images, code, machine and results that differ
python src/runs.py send RUN logger=wandb      writes W&B anew from its files; or logger=tensorboard
python src/runs.py clean                      runs that failed, diverged or were replaced, and their sizes
python src/runs.py clean yes=true             removes them; or those that are named, `clean RUN yes=true`
"""

import hydra
from omegaconf import DictConfig

from deeper.cli import main as cli


@hydra.main(version_base="1.3", config_path=cli.CONFIGS, config_name="runs")
@cli.task
def main(cfg: DictConfig) -> None:
    from deeper.reporting import listing

    cli.end_with_pipe()
    listing.answer(cfg)


if __name__ == "__main__":
    cli.start(main, files=True)
