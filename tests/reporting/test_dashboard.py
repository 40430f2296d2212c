"""src/dashboard.py: its keys are those that runs log, and what it saves at a stand-in for W&B.

`make wandb-check` does the same at W&B itself. It needs a key and a network, and has not been run yet.
"""

import json
import os
import re
import sys
from itertools import chain
from pathlib import Path

import pytest
import wandb
from entry import call, command, run_dirs, shell, small
from stored_runs import write_run
from wandb_server import serving

from deeper.reporting.panels import ARM, IDENTITY, SECTIONS

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style `@validator`")  # W&B's library

WORDS = ["model.width=0.125", "logger=[csv,wandb]"]
"""Of a run that logs all that panels show."""

PANELS = [(kind, key) for section in SECTIONS.values() for kind in section for key in section[kind]]


def missing(panels, summary, config) -> set[str]:
    """Keys of panels, and those by which runs are grouped and chosen, that a run has not logged."""
    lacks = set()
    for key in (ARM, IDENTITY):
        outer, _, inner = key.split(".")
        if inner not in config.get(outer, {}):
            lacks.add(key)
    for kind, key in panels:
        pattern = key if kind == "curves" else re.escape(key)
        if not any(re.fullmatch(pattern, name) for name in summary):
            lacks.add(key)
    return lacks


@pytest.fixture(scope="module")
def logged(images, tmp_path_factory):
    """Summary, which has every key that was logged, and config of an offline run at W&B."""
    logs = tmp_path_factory.mktemp("logged")
    done = shell(*small(images, logs, *WORDS))
    assert done.returncode == 0, done.stderr
    (file,) = logs.rglob("*.wandb")
    wandb_command = str(Path(sys.executable).with_name("wandb"))
    words = ["leet", "inspect", "--summary", "--json"]
    shown = json.loads(command(wandb_command, *words, str(file), HOME=str(logs)).stdout)
    return shown["summary"], shown["config"]


def test_every_panel_shows_what_runs_log(logged):
    assert missing(PANELS, *logged) == set()
    renamed = [(kind, key.replace("/", "/x")) for kind, key in PANELS]
    assert missing(renamed, *logged) == {key for _, key in renamed}


@pytest.fixture
def sweep(tmp_path):
    for seed in range(2):
        write_run(tmp_path / "lr-1", "baseline", seed)
        write_run(tmp_path / "lr-1", "no_aux", seed, 0.6)
    return tmp_path / "lr-1"


@pytest.fixture
def build():
    """`build(server, sweep, …)` is the command in this process."""
    wandb.teardown()  # it has read the environment once
    yield lambda server, *words: call(*map(str, words), script="dashboard", **server.environment)
    wandb.teardown()


def test_workspace_and_report_are_saved_with_our_panels(sweep, build):
    with serving(run_count=4) as server:
        done = build(server, sweep, "name=Ablations", "entity=team")
        assert (done.returncode, server.refused) == (0, []), done.stderr
        urls = re.findall(r"^(?:workspace|report): (\S+)$", done.stdout, re.MULTILINE)
        workspace, report = server.views.values()
        again = build(server, sweep, "name=Second", f"workspace={urls[0]}", f"report={urls[1]}")
        assert (again.returncode, server.refused) == (0, []), again.stderr
    assert [view["displayName"] for view in server.views.values()] == ["Second", "Second"]
    identities = [run.name for run in sorted(sweep.iterdir())]
    assert server.filters[0] == {"config.run.value.identity": {"$in": identities}}
    for view, kind in ((workspace, "project-view"), (report, "runs")):
        place = [view[key] for key in ("type", "entityName", "projectName", "displayName")]
        assert place == [kind, "team", "deeper", "Ablations"]
        assert re.search(
            r"\| experiment \| n \| test/top1 % \| Δ \| interval .*\| no_aux \| 2 \| ", view["spec"]
        )
    section = json.loads(workspace["spec"])["section"]
    names = [found["name"] for found in section["panelBankConfig"]["sections"]]
    assert names == ["Δ", *SECTIONS]
    assert section["settings"]["xAxis"] == "trainer/global_step"
    grids = [b["metadata"] for b in json.loads(report["spec"])["blocks"] if "metadata" in b]
    in_workspace = [found["panels"] for found in section["panelBankConfig"]["sections"][1:]]
    in_report = [grid["panelBankSectionConfig"]["panels"] for grid in grids]
    for panels in (in_workspace, in_report):
        assert [*map(shown, chain(*panels))] == PANELS
    for runs in [*section["runSets"], *chain(*(grid["runSets"] for grid in grids))]:
        assert runs["grouping"] == [{"section": "config", "name": "run.value.experiment"}]
        (chosen,) = runs["filters"]["filters"]
        assert chosen["key"] == {"section": "config", "name": "run.value.identity"}
        assert (chosen["op"], chosen["value"]) == ("IN", identities)


def shown(saved) -> tuple[str, str]:
    """Kind and key, from what was saved of a panel."""
    config = saved["config"]
    if saved["viewType"] == "Media Browser":
        return ("images", *config["mediaKeys"])
    over_seeds = [config[key] for key in ("groupBy", "groupAgg", "groupArea", "aggregate")]
    assert over_seeds == ["run.value.experiment", "mean", "stddev", True]
    if saved["viewType"] == "Bar Chart":
        return ("bars", *config["metrics"])
    assert config["xAxis"] == "trainer/global_step"
    if config.get("useMetricRegex"):
        return ("curves", config["metricRegex"])
    return ("curve", *config["metrics"])


def test_before_a_run_has_finished_the_panels_are_there_without_a_table(tmp_path, build):
    write_run(tmp_path, "baseline", 0, status="running", results={})
    with serving(run_count=1) as server:
        done = build(server, tmp_path)
    assert (done.returncode, len(server.views)) == (0, 2), done.stderr
    assert "No table of test/top1: no run has finished with test/top1" in done.stdout


@pytest.mark.parametrize("run_count", [0, None], ids=["no run", "no project"])
def test_a_sweep_that_w_and_b_does_not_know_is_refused(sweep, build, run_count):
    with serving(run_count) as server:
        done = build(server, sweep)
    assert (done.returncode, server.views) == (2, {})
    assert "me/deeper has none of the 4 runs; train with logger=[csv,wandb]" in done.stderr


def test_a_url_of_something_else_is_refused(sweep, build):
    with serving(run_count=4) as server:
        done = build(server, sweep, "workspace=https://wandb.ai/me/deeper/reports/x--123")
    assert (done.returncode, server.views) == (2, {})
    assert "W&B: no workspace at https://wandb.ai/me/deeper/reports/x--123: " in done.stderr


def test_without_a_key_the_next_command_is_named(sweep):
    done = shell(str(sweep), script="dashboard")
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "W&B: no key (or WANDB_MODE=offline): run `wandb login`, or set WANDB_API_KEY"
    )


def test_without_the_library_the_extra_is_named(sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    monkeypatch.delitem(sys.modules, "deeper.reporting.dashboard", raising=False)
    monkeypatch.delattr("deeper.reporting.dashboard", raising=False)
    done = call(str(sweep), script="dashboard")
    assert done.returncode == 2
    assert "pip install -e '.[dashboard]'" in done.stderr


@pytest.mark.network
def test_the_whole_at_w_and_b(images, tmp_path, capsys):
    """`make wandb-check`: a short training online, its dashboard, and its keys as W&B has them."""
    ours = {name: value for name, value in os.environ.items() if name.startswith("WANDB_")}
    if "WANDB_API_KEY" not in ours:
        pytest.skip("needs WANDB_API_KEY")
    words = small(images, tmp_path, *WORDS, "logger.wandb.project=deeper-check")
    trained = shell(*words, **ours | {"WANDB_MODE": "online"})
    assert trained.returncode == 0, trained.stderr
    (run,) = run_dirs(tmp_path)
    built = shell(str(run), "project=deeper-check", script="dashboard", **ours)
    assert built.returncode == 0, built.stderr
    with capsys.disabled():
        print(built.stdout)
    api = wandb.Api()
    stored = api.run(f"{api.default_entity}/deeper-check/{run.name}")
    assert missing(PANELS, stored.summary.keys(), stored.config) == set()
