"""Write a trained network for other programs; each file is compared with the network before it stays.

python src/export.py run=logs/train/runs/NAME         safetensors, ONNX and torch.export, in NAME/export
python src/export.py run=RUN format=onnx out=DIR      one of them: safetensors, onnx or torch_export
python src/export.py ckpt=FILE weights=live           any checkpoint, the weights that were trained last

ONNX and torch.export take uint8 RGB [B, 3, S, S]: the preprocessing is inside, and batch norms are
folded into convolutions. preprocessing.json, beside them, says how to crop and names the classes.
"""

import hydra
from omegaconf import DictConfig

from deeper.cli import main as cli


@hydra.main(version_base="1.3", config_path=cli.CONFIGS, config_name="export")
@cli.task
def main(cfg: DictConfig) -> None:
    from deeper.runs import select as networks

    networks.one(cfg)  # a mistake is said at once: torch takes seconds
    from deeper.export import export, request

    forms = request.forms(cfg)
    network = request.network(cfg)
    out = request.folder(cfg, network.path)
    rows = export.export(
        network, forms, out, overwrite=cfg.overwrite, bound=cfg.bound, rounds=cfg.rounds
    )
    export.show(network, rows, out, cfg.rounds)


if __name__ == "__main__":
    cli.start(main)
