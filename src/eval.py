"""Evaluate a checkpoint; nothing about its training needs to be said again.

python src/eval.py run=logs/train/runs/NAME           its best checkpoint on the test set
python src/eval.py ckpt=FILE data.root=DIR weights=live split=val
python src/eval.py run=RUN protocol=ten               ten crops an image; paper144: the paper's 144
python src/eval.py RUN FILE split=val                 several as one: their probabilities averaged
python src/eval.py RUN FILE 'protocols=[single,ten]'  the paper's table, models × crops
"""

import hydra
from omegaconf import DictConfig

from deeper.cli import main as cli
from deeper.runs import directory as runs


@hydra.main(version_base="1.3", config_path=cli.CONFIGS, config_name="eval")
@cli.task
def main(cfg: DictConfig) -> None:
    from pathlib import Path

    from deeper.config import overrides as choices
    from deeper.runs import select as networks

    run = runs.open_dir(hydra.core.hydra_config.HydraConfig.get().runtime.output_dir)
    paths, protocols = networks.several(cfg), choices.protocols(cfg)

    # A mistake above is said at once: torch takes seconds.
    from deeper.config import stored as carried
    from deeper.config.check import check_eval
    from deeper.evaluation import evaluate as reevaluate
    from deeper.evaluation.ensemble import Ensemble, Question
    from deeper.evaluation.imagenet_real import Real
    from deeper.runs import build as assemble
    from deeper.runs.record import is_main_process, recorded

    check_eval(cfg)
    states = {path: carried.load_with_config(path) for path in paths}
    config = reevaluate.trained_config(cfg, states[paths[0]])
    protocols = protocols or {choices.protocol_name(config.protocol): config.protocol}

    data = assemble.data(config)
    reevaluate.require_judgeable(cfg, states, data)
    real = None if cfg.real is None else Real(Path(cfg.real), data, cfg.split)
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
        if real is not None:
            record["real"] = real.results(counts.best)
    reevaluate.publish(record, counts, data.classes, [*states], run)


if __name__ == "__main__":
    cli.start(main, files=True)
