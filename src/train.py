"""Train a network.

python src/train.py                                   the baseline on generated images
python src/train.py experiment=no_aux                 one change of the paper's ablations
python src/train.py recipe=paper experiment=no_aux    the same change of the paper's network
python src/train.py data=folder data.root=DIR         your own images
python src/train.py -m experiment=baseline,no_aux seed=0,1,2
python src/train.py model=googlenet_torchvision preprocess=symmetric data=folder data.root=DIR
python src/train.py resume=logs/train/runs/NAME       continue a run; resume=latest: the newest
python src/train.py experiment=no_aux resume=auto     continue the run of these words, or begin it
"""

import hydra
from omegaconf import DictConfig

from deeper.cli import main as cli


@hydra.main(version_base="1.3", config_path=cli.CONFIGS, config_name="train")
@cli.task
def main(cfg: DictConfig) -> float | None:
    from deeper.config.check import check
    from deeper.runs.run import Run

    run = Run.open(cfg)
    cfg = run.config
    if not run.finished:
        check(cfg)
    # Most mistakes are answered by now, before these import torch, which takes seconds.
    from deeper.runs import build, preflight, reproduce, results, warm_start
    from deeper.runs.record import is_main_process

    if run.finished:
        return results.show_finished(run)
    data = build.data(cfg)
    module = build.classifier(cfg, data.classes, data.fingerprint("test"))
    if run.checkpoint is None:
        warm_start.load_pretrained(cfg, module)
    build.use_kernels(cfg, module.net)
    trainer = build.trainer(cfg, run.directory, run.lease)
    data.require_trainable(trainer, test=cfg.test)
    preflight.preflight(run, data, module, trainer)

    with run.recorded(data, trainer.loggers) as record:
        trainer.fit(module, data, ckpt_path=run.checkpoint, weights_only=True)
        metrics = results.restore_best(trainer, module)
        if cfg.test:
            metrics |= results.test(run, trainer, module, data)
        results.show_results(run, metrics)
        record |= {"results": metrics, "objective": results.objective(cfg, metrics)}
        record |= {"perf": results.show_bottleneck(trainer), **results.facts(trainer, module, data)}
    if cfg.reproduce and is_main_process():
        print(reproduce.compare(cfg, run.directory))
    return record["objective"]


if __name__ == "__main__":
    cli.start(main)
