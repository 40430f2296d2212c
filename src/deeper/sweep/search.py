"""hydra/sweeper=deeper: every combination of values, or with `search` what Optuna suggests.

Optuna is asked for as many trials as the queue runs at a time, and told how they ended. Its journal
lies in the multirun's folder: the same command again goes on until the number of trials is reached.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins import sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from deeper.config.errors import ConfigError, require_none
from deeper.config.secrets import without_secrets
from deeper.runs import metrics
from deeper.sweep.jobs import Job
from deeper.sweep.queue import slots

log = logging.getLogger(__name__)

JOURNAL = "optuna.journal"


@dataclass
class Search:
    trials: int
    """In all, however often the search is started again."""
    prune: bool = True
    """Stop a trial whose objective is below the median of the others at the same epoch."""
    startup_trials: int = 10
    """Random ones, before suggestions follow from results."""


class Sweeper(sweeper.Sweeper):
    """`params` are words for all jobs. `search` has the fields of `Search`; None: all combinations."""

    def __init__(
        self, params: dict[str, str] | None = None, search: dict[str, Any] | None = None
    ) -> None:
        self.params = params or {}
        self.search = None if search is None else Search(**search)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        assert self.config is not None and self.launcher is not None  # noqa: S101, PT018
        assert self.hydra_context is not None  # noqa: S101
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        params = [f"{key}={value}" for key, value in self.params.items()]
        words = parser.parse_overrides([*params, *arguments])
        folder = Path(str(self.config.hydra.sweep.dir))
        if self.search is not None:
            space, fixed = _space(words)
            _require_search(self.config, space)
        folder.mkdir(parents=True, exist_ok=True)
        content = without_secrets(OmegaConf.to_container(self.config))
        OmegaConf.save(OmegaConf.create(content), folder / "multirun.yaml")
        if self.search is None:
            (combinations,) = BasicSweeper.split_arguments(words, None)
            jobs = [*self.launcher.launch(combinations, 0)]
        else:
            jobs = self._searched(Study(folder / JOURNAL, self.config, self.search), space, fixed)
        for job in jobs:
            _ = job.return_value  # raises the failure of a job that failed
        return jobs

    def _searched(self, study: "Study", space: dict[str, Any], fixed: list[str]) -> list[JobReturn]:
        config: Any = self.config
        launcher: Any = self.launcher
        done: list[JobReturn] = []
        launcher.watch, launcher.shows_each, launcher.searched = study.watch, False, space
        for batch in study.batches(space, len(slots(config, [config]))):
            words = [[*fixed, *_words(trial, space)] for trial in batch]
            jobs = [*launcher.launch(words, batch[0].number)]
            for trial, job in zip(batch, jobs, strict=True):
                failed = job.status == JobStatus.FAILED
                study.tell(trial, None if failed else job.return_value)
            done += jobs
        launcher.show()
        study.show_best()
        return done


class Study:
    """Optuna's study of a search, kept in `journal`."""

    def __init__(self, journal: Path, config: DictConfig, search: Search) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = JournalStorage(JournalFileBackend(str(journal)))
        self.search, self.objective = search, str(config.objective)
        self._study = optuna.create_study(
            storage=storage, study_name="search", direction=config.direction.value,
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=search.startup_trials // 2),
        )  # fmt: skip
        # Another seed at each start: a sampler that starts again would suggest the same again.
        seed = int(config.seed) + len(self._study.trials)
        self._study.sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=search.startup_trials, constant_liar=True
        )
        self._states = optuna.trial.TrialState
        self._running: dict[int, Any] = {}
        """Number → trial of the batch that runs."""
        self._seen: dict[int, int] = {}
        """Number → epochs reported."""
        self._pruned: set[int] = set()

    def batches(self, space: dict[str, Any], parallel: int) -> Iterator[list[Any]]:
        """Trials to run at a time, first those of a driver that has ended, until all are done."""
        import optuna

        begun = [trial for trial in self._study.trials if trial.state == self._states.RUNNING]
        while True:
            left = self.search.trials - sum(t.state.is_finished() for t in self._study.trials)
            if begun:
                old = begun.pop(0)
                batch = [optuna.trial.Trial(self._study, old._trial_id)]
            elif left > 0:
                batch = [self._study.ask(space) for _ in range(min(parallel, left))]
            else:
                return
            self._running = {trial.number: trial for trial in batch}
            yield batch

    def watch(self, job: Job) -> bool:
        """Whether a running job is to be stopped, by the objective of its epochs so far."""
        trial = self._running[job.number]
        rows = []
        with suppress(OSError, ValueError):
            rows = metrics.rows(job.folder)
        values = [row[self.objective] for row in rows if row.get(self.objective) is not None]
        for epoch in range(self._seen.get(job.number, 0), len(values)):
            trial.report(values[epoch], epoch)
        self._seen[job.number] = max(self._seen.get(job.number, 0), len(values))
        if self.search.prune and values and trial.should_prune():
            self._pruned.add(job.number)
        return job.number in self._pruned

    def tell(self, trial: Any, value: float | None) -> None:
        if trial.number in self._pruned:
            self._study.tell(trial, state=self._states.PRUNED)
        elif value is None:
            self._study.tell(trial, state=self._states.FAIL)
        else:
            self._study.tell(trial, value)

    def show_best(self) -> None:
        states = [trial.state.name.lower() for trial in self._study.trials]
        counts = ", ".join(f"{states.count(state)} {state}" for state in sorted({*states}))
        log.info(f"{len(states)} trials: {counts}")
        with suppress(ValueError):  # none of them is complete
            best = self._study.best_trial
            words = " ".join(f"{key}={value}" for key, value in best.params.items())
            log.info(f"best: {self.objective}={best.value:.4f} in job {best.number}: {words}")


def _require_search(config: DictConfig, space: dict[str, Any]) -> None:
    found = []
    if not space:
        found.append("sweep=optuna: no key has values to search, such as lr=interval(0.01,0.1)")
    if config.get("test"):
        found.append("test=true: a search reads no test set; judge its best run afterwards")
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError:
        found.append("sweep=optuna: needs Optuna; pip install 'optuna>=5'")
    require_none(found)


def _space(words: Sequence[Override]) -> tuple[dict[str, Any], list[str]]:
    """Key → Optuna's distribution of what varies, and the words that are the same in all jobs."""
    from optuna import distributions as d

    space: dict[str, Any] = {}
    fixed: dict[str, str] = {}
    for word in words:
        key, value = word.get_key_element(), word.value()
        space.pop(key, None)
        fixed.pop(key, None)
        if isinstance(value, IntervalSweep):
            whole = isinstance(value.start, int) and isinstance(value.end, int)
            kind: Any = d.IntDistribution if whole else d.FloatDistribution
            space[key] = kind(value.start, value.end, log="log" in value.tags)
        elif isinstance(value, RangeSweep):
            numbers = [*value.range()]
            if not numbers:
                raise ConfigError([f"{word.input_line}: an empty range"])
            kind = d.IntDistribution if isinstance(numbers[0], int) else d.FloatDistribution
            space[key] = kind(numbers[0], numbers[-1], step=value.step)
        elif word.is_sweep_override():
            space[key] = d.CategoricalDistribution([*word.sweep_string_iterator()])
        else:
            fixed[key] = f"{key}={word.get_value_element_as_str()}"
    return space, [*fixed.values()]


def _words(trial: Any, space: dict[str, Any]) -> list[str]:
    return [f"{key}={trial.params[key]}" for key in space]
