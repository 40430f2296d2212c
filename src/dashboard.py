"""Build a sweep's dashboard at W&B: a workspace and a report, grouped by experiment.

python src/dashboard.py logs/train/multiruns/NAME     the runs of a multirun, trained with logger=[csv,wandb]
python src/dashboard.py SWEEP project=P entity=TEAM name=NAME
python src/dashboard.py SWEEP workspace=URL report=URL    replace what an earlier call has built
"""

import hydra
from omegaconf import DictConfig

from deeper.cli import main as cli


@hydra.main(version_base="1.3", config_path=cli.CONFIGS, config_name="dashboard")
@cli.task
def main(cfg: DictConfig) -> None:
    from deeper.reporting import dashboard

    dashboard.make(cfg)


if __name__ == "__main__":
    cli.start(main, files=True)
