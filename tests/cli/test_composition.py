"""What Hydra itself would build from its node is held to the list of trusted targets."""

import re

import pytest

from deeper.cli.composition import guard_hydra
from deeper.config.errors import ConfigError

HOSTILE = {
    "+hydra.callbacks.x={_target_: shutil.copyfile}": "hydra.callbacks.x",
    "+hydra.callbacks.x={_target_: hydra.utils.get_method, path: os.system}": "hydra.callbacks.x",
    "+callbacks.x={_target_: os.system} +hydra.callbacks={x: '${callbacks.x}'}": "hydra.callbacks.x",
    "hydra.launcher._target_=subprocess.run": "hydra.launcher",
    "+hydra.sweeper.sampler={_target_: os.system}": "hydra.sweeper.sampler",
    "hydra.job_logging.handlers.file.class=logging.handlers.QueueHandler": (
        "hydra.job_logging.handlers.file"
    ),
    "hydra.job_logging.handlers.console.stream=ext://os.system": (
        "hydra.job_logging.handlers.console.stream"
    ),
}


@pytest.mark.parametrize("words", HOSTILE)
def test_a_hostile_target_is_refused_before_hydra_builds_it(configs, words):
    guard_hydra()
    with pytest.raises(ConfigError, match=rf"{HOSTILE[words]}: _target_ '.*' is not trusted"):
        configs(*re.split(r" (?=\+)", words))


@pytest.mark.parametrize(
    "word",
    [
        "hydra/launcher=basic",
        "hydra/job_logging=default",
        "+hydra.callbacks.x={_target_: hydra.experimental.callbacks.LogJobReturnCallback}",
    ],
)
def test_what_hydra_brings_is_trusted(configs, word):
    guard_hydra()
    configs(word)


RECEIVED = """# @package _global_
hydra:
  callbacks: {{x: {{_target_: shutil.copyfile, src: {0}, dst: {0}.copy}}}}
  hydra_logging: {{formatters: {{plain: {{(): shutil.copyfile, src: {0}, dst: {0}.copy}}}}}}
"""


@pytest.mark.parametrize("mode", [[], ["-m"]])
def test_nothing_runs_and_nothing_is_left(refused, tmp_path, mode):
    file = tmp_path / "mine/recipe/mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(RECEIVED.format(file))
    words = [*mode, f"--config-dir={tmp_path}/mine", "recipe=mine", f"paths.logs={tmp_path}/logs"]
    message = refused(*words)
    assert "hydra.callbacks.x: _target_ 'shutil.copyfile' is not trusted" in message
    assert "hydra.hydra_logging.formatters.plain: _target_ 'shutil.copyfile' is not" in message
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]
