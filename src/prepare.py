"""Verify a set of images before training on it, and pack it for speed.

python src/prepare.py data.root=DIR                   open every image, list the unreadable ones
python src/prepare.py data=imagenet data.root=DIR     the same, and insist on the 1000 classes
python src/prepare.py data.root=DIR pack=true out=DIR shorter side 256, in memory-mapped shards
python src/prepare.py data.root=DIR pack=true out=DIR size=original
python src/prepare.py data.root=DIR on_bad=quarantine unreadable images are left out of training

After a kill the same command continues where it was.
"""

import hydra
from omegaconf import DictConfig

from deeper.cli import main as cli


@hydra.main(version_base="1.3", config_path=cli.CONFIGS, config_name="prepare")
@cli.task
def main(cfg: DictConfig) -> None:
    from pathlib import Path
    from shlex import quote

    from hydra.core.hydra_config import HydraConfig

    from deeper.config.check import check_prepare
    from deeper.config.instantiate import build
    from deeper.prepare.prepare import prepare
    from deeper.prepare.verify import Resize
    from deeper.processes import cores

    check_prepare(cfg)
    root, cache = (Path(path).expanduser() for path in (cfg.data.root, cfg.paths.cache))
    out = Path(cfg.out).expanduser() if cfg.pack else None
    prepare(
        build(cfg.data.source)(root=cfg.data.root, cache=cfg.paths.cache),
        root,
        cache,
        out=out,
        resize=Resize(cfg.size, cfg.quality) if cfg.pack and cfg.size != "original" else None,
        workers=cores() if cfg.workers == "auto" else cfg.workers,
        quarantine=cfg.on_bad.value == "quarantine",
    )
    data = HydraConfig.get().runtime.choices["data"]
    if out is not None and data != "imagenet":
        data = "folder"
    bad = " data.bad=quarantine" if out is None and cfg.on_bad.value == "quarantine" else ""
    print(f"next      python src/train.py data={data} data.root={quote(str(out or root))}{bad}")


if __name__ == "__main__":
    cli.start(main)
