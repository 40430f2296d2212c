"""Evaluate a checkpoint; nothing about its training needs to be said again.

python src/eval.py run=logs/train/runs/NAME           its best checkpoint on the test set
python src/eval.py ckpt=FILE data.root=DIR weights=live split=val
"""

import hydra
from omegaconf import DictConfig

from deeper import cli, runs


@hydra.main(version_base="1.3", config_path=cli.CONFIGS, config_name="eval")
@cli.task
def main(cfg: DictConfig) -> None:
    from deeper import assemble, reevaluate
    from deeper.config.check import check_eval
    from deeper.record import recorded

    run = runs.open_dir(hydra.core.hydra_config.HydraConfig.get().runtime.output_dir)
    check_eval(cfg)
    path = reevaluate.checkpoint_path(cfg)
    trained, state = reevaluate.trained_config(cfg, path)

    data = assemble.data(trained)
    reevaluate.require_unseen(cfg, state, data)
    module = assemble.classifier(trained, data.classes)
    weights = reevaluate.load_weights(module, state, cfg.weights)
    trainer = assemble.trainer(trained, run)
    with recorded(run, **reevaluate.facts(cfg, path, weights, data)) as record:
        record["results"] = reevaluate.evaluate(trainer, module, data, cfg.split)
    reevaluate.publish(record, path, run)


if __name__ == "__main__":
    cli.start(main)
