"""Write published weights as a checkpoint, with which eval.py, predict.py and export.py work.

python src/convert.py out=FILE.ckpt                   torchvision's GoogLeNet
python src/convert.py out=FILE.ckpt model=googlenet_bvlc preprocess=bvlc
python src/convert.py out=FILE.ckpt model=googlenet_bvlc model/aux=none preprocess=bvlc model.pretrained=onnx
python src/convert.py out=FILE.ckpt model.pretrained=FILE.pth     a file of torchvision's GoogLeNet

The classes are ImageNet's 1000. `model` and `preprocess` are the network that the weights belong to.
"""

import hydra
from omegaconf import DictConfig

from deeper.cli import main as cli


@hydra.main(version_base="1.3", config_path=cli.CONFIGS, config_name="convert")
@cli.task
def main(cfg: DictConfig) -> None:
    from pathlib import Path

    from deeper import checkpoint
    from deeper.config.check import check
    from deeper.config.errors import ConfigError
    from deeper.data.classes import wnids
    from deeper.runs import warm_start

    check(cfg)
    if not cfg.model.get("pretrained") or not cfg.out.endswith(".ckpt"):
        raise ConfigError(["pass out=<file>.ckpt and model.pretrained=<name or file of weights>"])
    checkpoint.save_checkpoint(
        warm_start.initial_checkpoint(cfg, wnids()), Path(cfg.out).expanduser()
    )
    print(
        f"written to {cfg.out}; python src/eval.py ckpt={cfg.out} data.root=<ImageNet> evaluates it"
    )


if __name__ == "__main__":
    cli.start(main)
