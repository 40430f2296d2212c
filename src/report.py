"""Compare finished runs: the ablation table, with intervals and verdicts.

python src/report.py logs/train/multiruns/NAME            the runs of a multirun
python src/report.py results/remeasured                   stored runs
python src/report.py SWEEP RUN metric=test/top5 out=DIR   several; as table.md, .tex, .csv, .json, index.html
python src/report.py SWEEP keep=DIR                       and copy what a report needs of its runs
python src/report.py plan PILOT                           how many seeds each claim needs, and the hours
"""

import hydra
from omegaconf import DictConfig

from deeper.cli import main as cli


@hydra.main(version_base="1.3", config_path=cli.CONFIGS, config_name="report")
@cli.task
def main(cfg: DictConfig) -> None:
    from deeper.reporting import report

    cli.end_with_pipe()
    report.make(cfg)


if __name__ == "__main__":
    cli.start(main, files=True)
