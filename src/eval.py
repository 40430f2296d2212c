"""Evaluate a checkpoint; nothing about its training needs to be said again.

python src/eval.py run=logs/train/runs/NAME           its best checkpoint on the test set
python src/eval.py ckpt=FILE data.root=DIR weights=live split=val
python src/eval.py run=RUN protocol=ten               ten crops an image; paper144: the paper's 144
python src/eval.py RUN FILE split=val                 several as one: their probabilities averaged
python src/eval.py RUN FILE 'protocols=[single,ten]'  the paper's table, models × crops
"""

import hydra
from omegaconf import DictConfig

from deeper import cli, runs


@hydra.main(version_base="1.3", config_path=cli.CONFIGS, config_name="eval")
@cli.task
def main(cfg: DictConfig) -> None:
    from pathlib import Path

    from deeper import assemble, checkpoint, reevaluate
    from deeper.config.check import check_eval
    from deeper.ensembles import Ensemble, Question
    from deeper.record import is_main_process, recorded

    run = runs.open_dir(hydra.core.hydra_config.HydraConfig.get().runtime.output_dir)
    check_eval(cfg)
    states = {path: checkpoint.load(path) for path in reevaluate.checkpoint_paths(cfg)}
    config = reevaluate.trained_config(cfg, next(iter(states.values())))
    protocols = reevaluate.protocols(cfg, config)

    data = assemble.data(config)
    reevaluate.require_judgeable(cfg, states, data)
    trainer = assemble.trainer(config, run)
    cache, precision = Path(cfg.paths.cache).expanduser(), assemble.precision(config).name
    question = Question(data, cfg.split, cfg.fusion, precision, cfg.weights, cache)
    ensemble = Ensemble(states, protocols, question)
    with recorded(run, **reevaluate.facts(cfg, states, data, [*protocols])) as record:
        ensemble.run(trainer)
        if not is_main_process():
            return
        found, counts = ensemble.found()
        record |= found
        record["results"] = reevaluate.results(cfg.split, counts)
        if cfg.real is not None:
            record["real"] = ensemble.real(Path(cfg.real), counts)
    reevaluate.publish(record, counts, data.classes, [*states], run)


if __name__ == "__main__":
    cli.start(main, files=True)
