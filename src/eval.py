"""Evaluate a checkpoint: `python src/eval.py run=logs/train/runs/NAME`. It carries its own config."""

import hydra
from omegaconf import DictConfig

from deeper import cli, runs


@hydra.main(version_base="1.3", config_path=cli.CONFIGS, config_name="eval")
@cli.task
def main(cfg: DictConfig) -> None:
    from deeper import assemble
    from deeper.config.check import check_eval
    from deeper.evaluation import again

    run = runs.open_dir(hydra.core.hydra_config.HydraConfig.get().runtime.output_dir)
    check_eval(cfg)
    path = again.checkpoint_path(cfg)
    trained, state = again.trained_config(cfg, path)

    data = assemble.data(trained)
    module = assemble.classifier(trained, data.classes)
    again.load_weights(module, state, cfg.weights)
    trainer = assemble.trainer(trained, run)
    with runs.record(run, checkpoint=str(path), weights=cfg.weights) as record:
        record["results"] = again.evaluate(trainer, module, data, cfg.split)
    again.publish(record, path, cfg)


if __name__ == "__main__":
    cli.start(main)
