"""Export a trained network for other programs; every file is verified against the network.

python src/export.py run=logs/train/runs/NAME         safetensors, ONNX and torch.export, in NAME/export
python src/export.py run=RUN format=onnx out=DIR      one of them: safetensors, onnx or torch_export
python src/export.py ckpt=FILE weights=live           any checkpoint, its live weights instead of the averaged ones

ONNX and torch.export take uint8 RGB [B, 3, S, S]: the graph contains the preprocessing, and batch
norms are folded into convolutions. preprocessing.json says how to crop and names the classes.
"""

import hydra
from omegaconf import DictConfig

from deeper.cli import main as cli


@hydra.main(version_base="1.3", config_path=cli.CONFIGS, config_name="export")
@cli.task
def main(cfg: DictConfig) -> None:
    from deeper.runs import select

    path = select.one(cfg)  # before torch is imported: a mistake is answered at once
    from deeper.export import export
    from deeper.inference import model

    forms = export.requested(cfg)
    network = model.load(path, cfg.weights.value)
    out = export.output_folder(cfg, network.path)
    exported = export.export(network, forms, out, overwrite=cfg.overwrite, bound=cfg.bound)
    export.show_export(network, exported, out)


if __name__ == "__main__":
    cli.start(main)
