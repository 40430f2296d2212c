"""Searches by Optuna, over a launcher that only computes an objective of the words."""

import json
import math
from contextlib import suppress
from types import SimpleNamespace

import pytest
from entry import call
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import open_dict

from deeper.config.errors import ConfigError
from deeper.sweep.search import Study, Sweeper, _space

pytest.importorskip("optuna")


class Died(BaseException):
    """The driver is killed."""


class Launcher:
    def __init__(self, answer):
        self.answer, self.jobs = answer, []

    def launch(self, overrides, first):
        found = []
        for number, words in enumerate(overrides, first):
            values = dict(word.split("=", 1) for word in words)
            self.jobs.append((number, values))
            value = self.answer(number, float(values["lr"]))
            job = JobReturn(overrides=words, status=JobStatus.COMPLETED)
            if isinstance(value, Exception):
                job.status = JobStatus.FAILED
            job.return_value = value
            found.append(job)
        return found

    def show(self):
        pass


@pytest.fixture
def search(configs, tmp_path):
    def run(answer, *words, trials=12, parallel=1):
        loader = GlobalHydra.instance().config_loader()
        given = ["debug=fast", "test=false", f"paths.logs={tmp_path}", "trainer=cpu"]
        given += [f"sweep.parallel={parallel}"]
        config = loader.load_configuration("train", given, run_mode=RunMode.MULTIRUN)
        with open_dict(config):
            config.hydra.sweep.dir = str(tmp_path / "search")
        sweeper = Sweeper(search={"trials": trials, "startup_trials": 4})
        sweeper.config, sweeper.launcher = config, Launcher(answer)
        sweeper.hydra_context = SimpleNamespace(config_loader=loader)
        with suppress(Died, RuntimeError):
            sweeper.sweep([*given, "lr=tag(log,interval(0.001,1))", *words])
        return sweeper.launcher.jobs

    return run


def hill(number, lr):
    return -((math.log10(lr) + 1.5) ** 2)


def test_it_finds_the_better_values(search):
    jobs = search(hill, trials=40)
    assert len(jobs) == 40
    values = [hill(0, float(values["lr"])) for _, values in jobs]
    assert max(values) > -0.01
    assert sum(values[20:]) / 20 > -0.4  # that of random ones is -0.75


def test_the_number_of_trials_is_that_of_all_starts_and_none_is_repeated(search):
    """The driver dies three times in the middle of a trial, which is then run again and told."""
    died = set()

    def answer(number, lr):
        if number in (2, 5, 9) and number not in died:
            died.add(number)
            raise Died
        return hill(number, lr)

    jobs = [job for _ in range(4) for job in search(answer)]
    assert sorted({number for number, _ in jobs}) == [*range(12)]
    assert len(jobs) == 12 + 3
    tried = {number: values["lr"] for number, values in jobs}
    assert len({*tried.values()}) == 12
    assert all(tried[number] == values["lr"] for number, values in jobs)
    assert search(answer) == []
    assert len(search(answer, trials=14)) == 2


def test_failed_jobs_and_those_without_an_objective_count(search):
    jobs = search(lambda number, lr: [RuntimeError("no"), None, 0.5][number % 3], trials=9)
    assert len(jobs) == 9


def test_several_at_a_time(search):
    jobs = search(hill, trials=7, parallel=3)
    assert [number for number, _ in jobs] == [*range(7)]
    assert len({values["lr"] for _, values in jobs}) == 7


def test_a_trial_behind_the_others_is_stopped(tmp_path, configs):
    config = configs("test=false")
    study = Study(
        tmp_path / "journal", config, SimpleNamespace(trials=9, prune=True, startup_trials=4)
    )
    space, stopped = _space(words("lr=interval(0.1,1)"))[0], []
    for number, (trial,) in enumerate(study.batches(space, 1)):
        folder = tmp_path / str(number)
        folder.mkdir()
        job = SimpleNamespace(number=number, folder=folder)
        for epoch in range(3):
            value = 0.1 * epoch + (0.5 if number < 7 else 0.1)
            with (folder / "metrics.jsonl").open("a") as file:
                for row in ({"train/loss": 1}, {"val/top1": value}):
                    file.write(json.dumps({"step": 1} | row) + "\n")
            if study.watch(job):
                stopped.append((number, epoch))
                break
        study.tell(trial, value)
    assert stopped == [(7, 0), (8, 0)]
    states = [trial.state.name for trial in study._study.trials]
    assert states == ["COMPLETE"] * 7 + ["PRUNED"] * 2


def words(*text):
    return OverridesParser.create().parse_overrides([*text])


def test_spaces():
    space, fixed = _space(words(
        "a=interval(1,9)", "b=tag(log,interval(0.1,1))", "c=x,y", "d=range(2,9,2)", "e=5",
        "a=range(0.0,1.0,0.25)", "c=x",
    ))  # fmt: skip
    assert {key: type(d).__name__ for key, d in space.items()} == {
        "b": "FloatDistribution", "d": "IntDistribution", "a": "FloatDistribution",
    }  # fmt: skip
    assert (space["d"].low, space["d"].high, space["d"].step) == (2, 8, 2)
    assert (space["a"].high, space["a"].step) == (0.75, 0.25)
    assert space["b"].log
    assert fixed == ["e=5", "c=x"]
    with pytest.raises(ConfigError, match="empty range"):
        _space(words("a=range(5,5)"))


@pytest.mark.parametrize(
    ("given", "message"),
    [(["test=true"], "a search reads no test set"), (["lr=0.1"], "no key has values to search")],
)
def test_what_is_no_search_is_refused(given, message, tmp_path):
    refused = call("-m", "sweep=optuna", *given, f"paths.logs={tmp_path}")
    assert refused.returncode == 2
    assert message in refused.stderr
    assert list(tmp_path.iterdir()) == []
