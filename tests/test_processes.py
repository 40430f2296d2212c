"""Workers leave signals to their parent, and end when it wants or is gone."""

import multiprocessing
import os
import signal
import time
from types import SimpleNamespace

import pytest

from deeper.processes import PARENT, follow_parent, signals_held, start_worker


def work(ready) -> None:
    os.setpgid(0, 0)
    start_worker()
    ready.set()
    time.sleep(60)


@pytest.fixture
def worker():
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=work, args=(ready,), daemon=True)
    with signals_held():  # as a loader does: other threads may start in a forked process
        process.start()
    assert ready.wait(10)
    yield process
    process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_from_elsewhere_does_not_end_it(worker, number):
    sender = os.fork()
    if sender == 0:
        os.killpg(worker.pid, number)
        os._exit(0)
    os.waitpid(sender, 0)
    time.sleep(0.2)
    assert worker.is_alive()


def test_its_parent_ends_it(worker):
    worker.terminate()
    worker.join(5)
    assert worker.exitcode == 0


def orphan() -> None:
    multiprocessing.parent_process = lambda: SimpleNamespace(is_alive=lambda: False)
    start_worker()


def test_a_worker_ends_whose_parent_ended_while_it_was_spawned():
    process = multiprocessing.get_context("fork").Process(target=orphan)
    with signals_held():
        process.start()
    process.join(10)
    assert process.exitcode == 1


def test_a_parent_that_ended_before_it_could_be_followed(monkeypatch):
    gone = os.fork()
    if gone == 0:
        os._exit(0)
    os.waitpid(gone, 0)
    monkeypatch.setenv(PARENT, str(gone))
    with pytest.raises(SystemExit, match="143"):
        follow_parent()
