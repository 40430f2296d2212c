"""Measure this project side by side with what people use.

python src/bench.py                                   all that needs no photos
python src/bench.py data.root=DIR                     all; photos are in DIR/train/<class>/*
python src/bench.py what=step                         one part; several as what=[step,inference]
python src/bench.py data.root=DIR what=loading workers=8 rounds=9 images=5000
python src/bench.py device=cuda compile=true what=[step,inference] batch_size=512
python src/bench.py data.root=DIR results=benchmarks/results             write into the repository

Contestants run in turns; tables show medians over the rounds. They are printed and written to
logs/bench/, to a file of this hardware. Nothing else should run meanwhile.
"""

import hydra
from omegaconf import DictConfig

from deeper.cli import main as cli


@hydra.main(version_base="1.3", config_path=cli.CONFIGS, config_name="bench")
@cli.task
def main(cfg: DictConfig) -> None:
    from importlib import import_module

    from deeper.benchmarks.report import Report
    from deeper.benchmarks.setting import Setting
    from deeper.benchmarks.timing import Contest, seconds
    from deeper.config.check import check_bench

    names = check_bench(cfg)
    with Setting.opened(cfg) as setting:
        report = Report(setting, cfg.results, cfg.rounds)
        for name in names:
            try:
                for result in import_module(f"deeper.benchmarks.{name}").contests(setting):
                    taken = seconds(result, cfg.rounds) if isinstance(result, Contest) else {}
                    report.add(name, result, taken)
            except ModuleNotFoundError as missing:
                print(f"{name}: left out, since {missing.name} is not installed")
        report.show_figures()


if __name__ == "__main__":
    cli.start(main)
