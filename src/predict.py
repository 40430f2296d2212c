"""Name what is in pictures: the most probable classes of each, by a trained network.

python src/predict.py run=logs/train/runs/NAME photos/*.jpg    its best checkpoint; names, % and classes
python src/predict.py ckpt=FILE photos 'more/**/*.png'         folders with all below, and patterns
find . -name '*.jpg' -print0 | python src/predict.py run=RUN zero=true format=tsv -
python src/predict.py run=RUN out=page.html photos             one page with the pictures, for a browser
python src/predict.py run=RUN top=1 format=json -- -odd.jpg a=b.jpg    behind -- all are files

Forms are table, tsv, json and html. A file that exists is taken literally, whatever its name; in a
folder what begins as a picture, or is named as one, is meant. Pictures that cannot be read are named
on standard error with the reason, the others are done.
Exit status: 0 if all were read, 1 if any was not, 2 for a mistake, 130 after Ctrl-C.
"""

import hydra
from omegaconf import DictConfig

from deeper.cli import main as cli


@hydra.main(version_base="1.3", config_path=cli.CONFIGS, config_name="predict")
@cli.task
def main(cfg: DictConfig) -> None:
    import sys

    from deeper.runs import select as networks

    networks.one(cfg)  # a mistake is said at once: torch takes seconds
    from deeper.config.check import check_predict
    from deeper.inference.predict import predict

    check_predict(cfg)
    if predict(cfg).bad:
        sys.exit(1)


if __name__ == "__main__":
    cli.start(main, files=True)
