"""What is named as a secret is written nowhere."""

import pytest
import wandb
from entry import call, record, run_dirs, small

from deeper.config.secrets import without_secrets
from deeper.sweep.queue import Queue


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("+logger.csv.api_key=abc", "+logger.csv.api_key=***"),
        ("++hydra.job.env_set.WANDB_API_KEY='a,b'", "++hydra.job.env_set.WANDB_API_KEY=***"),
        ("+x={user: me, password: a b, n: 1}", "+x={user: me, password: ***, n: 1}"),
        ("+x={keys: 1, private_key: [a, b]}", "+x={keys: 1, private_key: ***}"),
        ("seed=1,token=abc,lr=0.1", "seed=1,token=***,lr=0.1"),
        ("model.tokens=4", "model.tokens=4"),
        ("data.root=/data/tokens/a=b", "data.root=/data/tokens/a=b"),
    ],
)
def test_a_word_is_written_without_its_secret(word, written):
    assert without_secrets([word]) == [written]


def test_a_config_is_written_without_its_secrets():
    config = {
        "a": {
            "Secret": "abc",
            "class_token": True,
            "pin_token": 1234,
            "token": None,
            "tokens": 4,
            "b": [{"hf_token": "abc"}],
        }
    }
    written = {
        "a": {
            "Secret": "***",
            "class_token": True,
            "pin_token": "***",
            "token": None,
            "tokens": 4,
            "b": [{"hf_token": "***"}],
        }
    }
    assert without_secrets(config) == written


# Keys of any name are accepted in Hydra's environment of a job, and in `requires`.
WORDS = ["++hydra.job.env_set.WANDB_API_KEY=xyzzy1", "+requires={my_password: [xyzzy2]}"]
ENVIRONMENT = {"WANDB_MODE": "offline", "HF_TOKEN": "xyzzy3", "MY_PASSWORD": "xyzzy4"}


def require_no_secret(result, logs, number_of_files):
    assert result.returncode == 0, result.stderr
    files = [path for path in logs.rglob("*") if path.is_file()]
    assert len(files) >= number_of_files
    for path in files:
        assert b"xyzzy" not in path.read_bytes(), path
    assert "xyzzy" not in result.stdout + result.stderr


def test_no_file_of_a_run_holds_it(images, tmp_path):
    own = tmp_path / "configs/debug/mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(
        "# @package _global_\nrequires: {token: [xyzzy5], password: ['${oc.env:MY_PASSWORD}']}\n"
    )
    logs = tmp_path / "logs"
    more = ["model.width=0.125", "logger=[csv,tensorboard,wandb]", "debug=[fast,mine]"]
    words = [word for word in small(images, logs) if word != "debug=fast"]
    try:
        result = call("--config-dir", f"{tmp_path}/configs", *WORDS, *words, *more, **ENVIRONMENT)
    finally:
        wandb.finish()
    require_no_secret(result, logs, 30)
    (run,) = run_dirs(logs)
    assert "+requires={my_password: ***}" in record(run)["overrides"]


def test_no_file_of_a_sweep_holds_it(images, tmp_path, monkeypatch):
    monkeypatch.setattr(Queue, "run", lambda queue: None)
    result = call("-m", *WORDS, *small(images, tmp_path))
    require_no_secret(result, tmp_path, 1)
    assert "requires={my_password:***}" in result.stdout.replace("+", "")
