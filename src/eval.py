"""Evaluate a checkpoint; it knows its own data and preprocessing.

python src/eval.py run=logs/train/runs/NAME           its best checkpoint on the test set
python src/eval.py ckpt=FILE data.root=DIR weights=live split=val
python src/eval.py run=RUN protocol=ten               ten crops an image; paper144: the paper's 144
python src/eval.py RUN FILE split=val                 an ensemble: the mean of their probabilities
python src/eval.py RUN FILE 'protocols=[single,ten]'  the paper's Table 3, models × crops
"""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from deeper.cli import main as cli


@hydra.main(version_base="1.3", config_path=cli.CONFIGS, config_name="eval")
@cli.task
def main(cfg: DictConfig) -> None:
    from deeper.config import overrides
    from deeper.runs import directory, select

    run = directory.open_dir(HydraConfig.get().runtime.output_dir)
    paths, protocols = select.several(cfg), overrides.protocols(cfg)
    # These answered before torch is imported, which takes seconds.
    from deeper.config import check, stored
    from deeper.evaluation import config, report, tables, unseen
    from deeper.evaluation.ensemble import Ensemble
    from deeper.inference.model import Trained
    from deeper.runs import build
    from deeper.runs.record import is_main_process, recorded

    check.check_eval(cfg)
    checkpoints = {path: stored.load_with_config(path) for path in paths}
    settings = config.evaluation_config(cfg, checkpoints[paths[0]])
    protocols = protocols or {overrides.protocol_name(settings.protocol): settings.protocol}

    data = build.data(settings)
    unseen.require_evaluable(cfg, checkpoints, data)
    trainer = build.trainer(settings, run)
    networks = [Trained(state, path, cfg.weights.value) for path, state in checkpoints.items()]
    for network in networks:
        build.use_kernels(settings, network.net)
    ensemble = Ensemble(cfg, networks, protocols, data, build.precision(settings).name)

    with recorded(run, **ensemble.facts) as record:
        ensemble.predict(trainer)
        if not is_main_process():
            return
        content, metrics = ensemble.report()
        record["results"] = content["results"]
    tables.show_evaluation(content, metrics, data.classes, report.report_file(run).name)
    report.save_evaluation(content, metrics, data.classes, run)


if __name__ == "__main__":
    cli.start(main, files=True)
