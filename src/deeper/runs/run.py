"""A training run: its directory, config, checkpoint and record."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from deeper.checkpoint import load_checkpoint
from deeper.config import overrides
from deeper.config.errors import ConfigError
from deeper.config.instantiate import resolved
from deeper.config.secrets import without_secrets
from deeper.data.datamodule import ImageData
from deeper.runs import directory, record
from deeper.runs.identity import identity
from deeper.runs.resume import resumed_config, save_config


@dataclass(frozen=True)
class Run:
    """`checkpoint` is the one to continue from, None for a new run."""

    directory: Path
    config: DictConfig
    checkpoint: Path | None

    @classmethod
    def open(cls, cfg: DictConfig) -> "Run":
        """The run in the directory that Hydra made, or the one that `resume=` names."""
        output = HydraConfig.get().runtime.output_dir
        folder = directory.open_dir(output, cfg.resume)
        if cfg.resume is None:
            return cls(folder, cfg, None)
        last = directory.checkpoint(folder, directory.LAST)
        done = load_checkpoint(last, mmap=True)["epoch"] + 1
        config = resumed_config(cfg, folder)
        if config.trainer.max_epochs < done:
            raise ConfigError(
                [f"epochs={config.trainer.max_epochs}: the run has done {done} already; pass more"]
            )
        return cls(folder, config, last)

    @contextmanager
    def recorded(self, data: ImageData) -> Iterator[dict[str, Any]]:
        """Accept the start, and keep run.json until the run ends, however it ends.

        The caller adds `results` and `objective` to the dict.
        """
        facts = self._facts(data)
        directory.settle()
        main = record.is_main_process()
        if main:
            save_config(self.config, self.directory)
        try:
            with record.recorded(self.directory, **facts) as content:
                yield content
        except BaseException as error:
            if main and record.is_interrupt(error) and (self.directory / directory.LAST).exists():
                print(f"\ncontinue: python src/train.py {self._word('resume')}", flush=True)
            raise
        if main and (self.directory / directory.BEST).exists():
            # The official set that chose the checkpoint is no test.
            split = " split=val" if self.config.data.get("val_from") == "official" else ""
            print(f"evaluate: python src/eval.py {self._word('run')}{split}", flush=True)

    def _facts(self, data: ImageData) -> dict[str, Any]:
        """Raises `ValueError` where a resumed run gets other images than it was trained on."""
        cfg, fingerprint = self.config, data.fingerprint()
        facts = {
            "identity": identity(resolved(cfg)),
            "data": fingerprint,
            "images": data.census._asdict(),
        }
        if self.checkpoint is not None:
            before = record.read(self.directory).get("data")
            if before != fingerprint:
                raise ValueError(
                    f"{cfg.data.root}: not the images that {cfg.resume} was trained on (fingerprint "
                    f"{fingerprint}, then {before}); pass data.root=<their folder>, or start a new run"
                )
            return facts
        words = overrides.task_overrides()
        return facts | {
            "overrides": without_secrets(words),
            "recipe": overrides.recipe(words),
            "experiments": overrides.chosen_options("experiment", words),
            "seed": cfg.seed,
        }

    def _word(self, key: str) -> str:
        """`key=<directory>` to paste into the shell."""
        return shlex.quote(f"{key}={self.directory}")
