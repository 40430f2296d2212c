"""Evaluate a checkpoint; it knows its own data and preprocessing.

python src/eval.py run=logs/train/runs/NAME           its best checkpoint on the test set
python src/eval.py ckpt=FILE data.root=DIR weights=live split=val
python src/eval.py run=RUN protocol=ten               ten crops an image; paper144: the paper's 144
python src/eval.py RUN FILE split=val                 an ensemble: the mean of their probabilities
python src/eval.py RUN FILE 'protocols=[single,ten]'  the paper's Table 3, models × crops
"""

import hydra
from omegaconf import DictConfig

from deeper.cli import main as cli
from deeper.runs import directory


@hydra.main(version_base="1.3", config_path=cli.CONFIGS, config_name="eval")
@cli.task
def main(cfg: DictConfig) -> None:
    from pathlib import Path

    from deeper.config import overrides
    from deeper.runs import select

    run = directory.open_dir(hydra.core.hydra_config.HydraConfig.get().runtime.output_dir)
    paths, protocols = select.several(cfg), overrides.protocols(cfg)

    # The checks above answer before torch is imported, which takes seconds.
    from deeper.config import stored
    from deeper.config.check import check_eval
    from deeper.evaluation import evaluate
    from deeper.evaluation.ensemble import Ensemble, Settings
    from deeper.evaluation.imagenet_real import RealLabels
    from deeper.evaluation.unseen import require_evaluable
    from deeper.runs import build
    from deeper.runs.record import is_main_process, recorded

    check_eval(cfg)
    checkpoints = {path: stored.load_with_config(path) for path in paths}
    config = evaluate.trained_config(cfg, checkpoints[paths[0]])
    protocols = protocols or {overrides.protocol_name(config.protocol): config.protocol}

    data = build.data(config)
    require_evaluable(cfg, checkpoints, data)
    images = getattr(data.splits, cfg.split)
    real = RealLabels(Path(cfg.real), images, len(data.classes)) if cfg.real else None
    trainer = build.trainer(config, run)
    precision, cache = build.precision(config).name, Path(cfg.paths.cache).expanduser()
    settings = Settings(cfg.split, cfg.fusion, cfg.weights, precision, cache)
    ensemble = Ensemble(checkpoints, protocols, data, settings)
    with recorded(run, **evaluate.facts(cfg, checkpoints, data, protocols)) as record:
        ensemble.run(trainer)
        if not is_main_process():
            return
        tables, metrics = ensemble.report()
        record |= tables | {"results": evaluate.results(cfg.split, metrics)}
        if real is not None:
            record["real"] = real.results(metrics.best)
    evaluate.show(record, metrics, data.classes, evaluate.result_file(run).name)
    evaluate.save(record, metrics, data.classes, run, paths)


if __name__ == "__main__":
    cli.start(main, files=True)
