"""Train a network.

python src/train.py                                   the baseline on generated images
python src/train.py experiment=no_aux                 one change of the paper's ablations
python src/train.py recipe=paper experiment=no_aux    the same question, asked of the net of 2014
python src/train.py data=folder data.root=DIR         your own images
python src/train.py -m experiment=baseline,no_aux seed=0,1,2
python src/train.py model=googlenet_torchvision preprocess=symmetric data=folder data.root=DIR
python src/train.py resume=logs/train/runs/NAME       go on with a run
"""

import hydra
from omegaconf import DictConfig

from deeper.cli import main as cli
from deeper.runs import directory as runs


@hydra.main(version_base="1.3", config_path=cli.CONFIGS, config_name="train")
@cli.task
def main(cfg: DictConfig) -> float | None:
    from deeper.config.check import check
    from deeper.runs import build as assemble
    from deeper.runs import results as finish
    from deeper.runs import resume
    from deeper.runs import warm_start as pretrained
    from deeper.runs.record import recorded

    run = runs.open_dir(hydra.core.hydra_config.HydraConfig.get().runtime.output_dir, cfg.resume)
    cfg = resume.continued(cfg, run)
    check(cfg)

    data = assemble.data(cfg)
    module = assemble.classifier(cfg, data.classes, data.fingerprint("test"))
    pretrained.start(cfg, module)
    trainer = assemble.trainer(cfg, run)
    data.require_trainable(trainer, test=cfg.test)
    resume.keep(cfg, run)
    images = data.census._asdict()
    with recorded(run, **resume.facts(cfg, data.fingerprint()), images=images) as record:
        trainer.fit(module, data, ckpt_path=resume.last(cfg, run), weights_only=True)
        record["results"] = finish.results(cfg, run, trainer, module, data)
        record["objective"] = finish.objective(cfg, record["results"])
    return record["objective"]


if __name__ == "__main__":
    cli.start(main)
