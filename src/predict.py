"""Predict the most probable classes of images with a trained network.

python src/predict.py run=logs/train/runs/NAME photos/*.jpg    its best checkpoint; names, % and classes
python src/predict.py ckpt=FILE photos 'more/**/*.png'         all images in a folder, and a glob
find . -name '*.jpg' -print0 | python src/predict.py run=RUN zero=true format=tsv -
python src/predict.py run=RUN out=page.html photos             one page with thumbnails, for a browser
python src/predict.py run=RUN top=1 format=json -- -odd.jpg a=b.jpg    after -- all words are files

Formats are table, tsv, json and html. A file that exists is taken literally, whatever its name; of a
folder all files are taken that are named as images. Standard error names each file that cannot be
read with the reason, and the others are done.
Exit status: 0 if all were read, 1 if any was not, 2 for a mistake, 130 after Ctrl-C.
"""

import hydra
from omegaconf import DictConfig

from deeper.cli import main as cli


@hydra.main(version_base="1.3", config_path=cli.CONFIGS, config_name="predict")
@cli.task
def main(cfg: DictConfig) -> None:
    import sys

    from deeper.runs import select

    select.one(cfg)  # answers before torch is imported, which takes seconds
    from deeper.config.check import check_predict
    from deeper.inference.predict import predict

    check_predict(cfg)
    if cfg.out is None:
        cli.end_with_pipe()
    _, bad = predict(cfg)
    if bad:
        sys.exit(1)


if __name__ == "__main__":
    cli.start(main, files=True)
