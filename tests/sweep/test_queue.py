"""The queue of a multirun, with jobs that are a line of Python each."""

import json
import os
import signal
import sys
import threading
import time

import pytest
from omegaconf import OmegaConf

from deeper.config.errors import ConfigError
from deeper.signals import Stopped
from deeper.sweep.jobs import (
    DIVERGED,
    DONE,
    FAILED,
    INTERRUPTED,
    WAITING,
    Job,
    differing_words,
    names,
)  # fmt: skip
from deeper.sweep.queue import Queue, slots, start_process

RECORD = "import json; json.dump({0} | {{'starts': [1]}}, open('run.json', 'w'))"
FINISHED = RECORD.format({"status": "finished", "objective": 0.5})
ENDS = {
    FINISHED: (DONE, ""),
    RECORD.format({"status": "finished", "objective": None, "results": {"val/top1": None}}): (
        DIVERGED, "",
    ),
    RECORD.format({"status": "diverged", "error": "Diverged: the loss\nmore"})
    + "; exit(1)": (DIVERGED, "Diverged: the loss"),
    RECORD.format({"status": "failed", "error": "ValueError: no"}) + "; exit(1)": (
        FAILED, "ValueError: no",
    ),
    RECORD.format({"status": "interrupted", "error": "Stopped: after step 9"}) + "; exit(130)": (
        INTERRUPTED, "after step 9",
    ),
    "print('a'); print('the last word\\n'); exit(3)": (FAILED, "the last word"),
    "import os; print('so far'); os.kill(os.getpid(), 9)": (FAILED, "signal 9: status 9"),
    "exit(0)": (FAILED, "status 0"),
}  # fmt: skip


def job(tmp_path, number, words=()):
    return Job(
        number,
        [*words],
        tmp_path / str(number),
        OmegaConf.create({"test": False, "objective": "val/top1"}),
    )


def queue(jobs, code, parallel=1):
    def command(job):
        return [
            sys.executable,
            "-c",
            f"import os; os.chdir({str(job.folder)!r}); {code[job.number]}",
        ]

    return Queue(jobs, lambda job, slot: start_process(job, command(job), slot), [{}] * parallel)


def test_what_becomes_of_a_job(tmp_path):
    jobs = [job(tmp_path, number) for number in range(len(ENDS))]
    queue(jobs, [*ENDS], parallel=2).run()
    for job_, (code, (state, cause)) in zip(jobs, ENDS.items(), strict=True):
        assert job_.state == state, code
        assert job_.cause == cause or cause.startswith("signal 9"), code
    assert jobs[0].objective == 0.5
    assert jobs[1].objective is None
    assert jobs[6].cause.startswith("signal 9")


def test_what_has_ended_is_not_run_again(tmp_path):
    jobs = [job(tmp_path, 0), job(tmp_path, 1)]
    queue(jobs, [FINISHED, "exit(1)"]).run()
    again = [job(tmp_path, 0), job(tmp_path, 1)]
    assert [job_.has_ended() for job_ in again] == [True, False]
    assert [job_.state for job_ in again] == [DONE, WAITING]
    again[0].config.test = True  # it was trained without a test
    assert not job(tmp_path, 0).record.get("results")
    assert not Job(0, [], tmp_path / "0", again[0].config).has_ended()


def test_where_the_first_job_is_refused_the_others_are_not_tried(tmp_path):
    jobs = [job(tmp_path, number) for number in range(3)]
    queue(jobs, ["exit(2)", FINISHED, FINISHED]).run()
    assert [job_.state for job_ in jobs] == [FAILED, WAITING, WAITING]
    jobs = [job(tmp_path / "2", number) for number in range(3)]
    queue(jobs, [FINISHED, "exit(2)", FINISHED]).run()
    assert [job_.state for job_ in jobs] == [DONE, FAILED, DONE]
    jobs = [job(tmp_path / "3", number) for number in range(3)]
    busy = f"import time; time.sleep(1); {FINISHED}"
    queue(jobs, [busy, "exit(2)", FINISHED], parallel=2).run()
    assert [job_.state for job_ in jobs] == [DONE, FAILED, DONE]


def test_a_refused_start_is_told_by_its_own_words(tmp_path):
    """Not by the record of an earlier start."""
    earlier = job(tmp_path, 0)
    earlier.folder.mkdir()
    ended = {"status": "interrupted", "error": "Stopped: by SIGTERM", "starts": [1]}
    (earlier.folder / "run.json").write_text(json.dumps(ended))
    queue([earlier], ["print('no such folder'); exit(2)"]).run()
    assert (earlier.state, earlier.cause) == (FAILED, "no such folder")


def test_two_jobs_of_one_run_wait_for_another(tmp_path):
    jobs = [job(tmp_path, 0), job(tmp_path, 0), job(tmp_path, 1)]
    alone = f"import time; open('lease', 'x'); time.sleep(1); os.remove('lease'); {FINISHED}"
    queue(jobs, [alone, FINISHED], parallel=3).run()
    assert [job_.state for job_ in jobs] == [DONE] * 3


def test_a_signal_while_a_job_is_started_reaches_it(tmp_path, monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_DFL)
    jobs = [job(tmp_path, 0)]
    slow = queue(jobs, ["import time; time.sleep(60)"])
    start = slow.start

    def started(job_, slot):
        process = start(job_, slot)
        os.kill(os.getpid(), signal.SIGTERM)
        return process

    slow.start = started
    with pytest.raises(Stopped):
        slow.run()
    assert jobs[0].cause.startswith("signal 15")


def test_jobs_run_at_a_time(tmp_path):
    """Each waits for the other's file."""
    meet = "import time; open('../{0}.here', 'w')\nwhile not os.path.exists('../{1}.here'): time.sleep(.05)\n"
    jobs = [job(tmp_path, 0), job(tmp_path, 1)]
    queue(jobs, [meet.format(0, 1) + FINISHED, meet.format(1, 0) + FINISHED], parallel=2).run()
    assert [job_.state for job_ in jobs] == [DONE, DONE]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_jobs_and_no_other_starts(tmp_path, number, monkeypatch):
    # A shell's background job ignores Ctrl-C, and so would the queue.
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_DFL)
    waits = (
        "import signal, time, json\n"
        "def end(n, f): json.dump({'status': 'interrupted'}, open('run.json', 'w')); exit(1)\n"
        "signal.signal(signal.SIGTERM, end); signal.signal(signal.SIGINT, end)\n"
        "open('ready', 'w'); time.sleep(60)"
    )
    jobs = [job(tmp_path, 0), job(tmp_path, 1)]

    def send():
        while not (tmp_path / "0/ready").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    threading.Thread(target=send).start()
    with pytest.raises(Stopped) as stopped:
        queue(jobs, [waits, FINISHED]).run()
    assert stopped.value.number == number
    assert json.loads((tmp_path / "0/run.json").read_text()) == {"status": "interrupted"}
    assert jobs[1].state == WAITING
    assert not (tmp_path / "1").exists()


def test_slots_share_the_cores_or_have_gpus_of_their_own(monkeypatch):
    def of(parallel, *trainers):
        sweep = OmegaConf.create({"sweep": {"parallel": parallel}})
        return slots(sweep, [OmegaConf.create({"trainer": trainer}) for trainer in trainers])

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("deeper.sweep.queue.cores", lambda: 8)
    cpu, gpu = {"accelerator": "cpu"}, {"accelerator": "gpu", "devices": 1}
    assert of("auto", cpu) == [{}]
    assert of(2, cpu, cpu) == [{"OMP_NUM_THREADS": "4"}] * 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,6")
    for module in ("deeper.sweep.queue", "deeper.runs.identity"):
        monkeypatch.setattr(f"{module}.accelerator_for", lambda name: "cuda")
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in of("auto", gpu)] == ["3", "5", "6"]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in of("auto", gpu, gpu | {"devices": 2})] == [
        "3,5"
    ]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in of(4, gpu)] == ["3", "5", "6", "3"]
    with pytest.raises(ConfigError, match="trainer: a job needs 4 GPUs, and here are 3"):
        of("auto", gpu | {"devices": 4})


def test_jobs_are_told_apart_by_the_words_that_differ(tmp_path):
    jobs = [job(tmp_path, n, ["recipe=paper", f"seed={n}"]) for n in (0, 1)]
    assert differing_words(jobs) == {0: "seed=0", 1: "seed=1"}
    assert differing_words(jobs[:1]) == {0: "recipe=paper seed=0"}


def test_dashboards_show_what_differs(tmp_path):
    def shown(*rows, searched=()):
        jobs = [job(tmp_path, number, ["data.limit=9", *row]) for number, row in enumerate(rows)]
        return [*names(jobs, searched).values()]

    assert shown(["lr=0.1"], ["lr=0.2"]) == ["lr=0.1", "lr=0.2"]
    stacked = ["experiment=[no_aux,head_fc]", "seed=1"]
    found = ["baseline-s1", "no_aux+head_fc-s1"]
    assert shown(["experiment=baseline", "seed=1"], stacked, ["seed=2"])[:2] == found
    assert shown(["model/head=fc"], ["model/head=nin"])[0] == "head=fc"
    assert shown(["lr=0.1"]) == [""]
    assert shown(["lr=0.1"], searched={"lr"}) == ["lr=0.1"]
