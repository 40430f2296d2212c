"""Measure this project side by side with what people use.

python src/bench.py data.root=DIR                     loading: photos in DIR/train/<class>/* to batches
python src/bench.py data.root=DIR workers=8 rounds=9 images=5000
python src/bench.py what=evaluation data.root=DIR rounds=3 workers=1     144 crops, against the network alone
python src/bench.py what=overhead                     a step's cost beside its arithmetic
python src/bench.py data.root=DIR results=benchmarks/results             write into the repository

The table is printed and written to logs/bench/. Nothing else should run meanwhile.
"""

import hydra
from omegaconf import DictConfig

from deeper.cli import main as cli


@hydra.main(version_base="1.3", config_path=cli.CONFIGS, config_name="bench")
@cli.task
def main(cfg: DictConfig) -> None:
    import importlib
    from pathlib import Path

    from deeper.config.check import check_bench

    check_bench(cfg)
    benchmark = importlib.import_module(f"deeper.benchmarks.{cfg.what.value}")
    root = Path(cfg.data.root).expanduser() if cfg.data.root else None
    results = Path(cfg.results).expanduser()
    benchmark.run(root, cfg.images or benchmark.IMAGES, cfg.rounds, cfg.workers, results)


if __name__ == "__main__":
    cli.start(main)
