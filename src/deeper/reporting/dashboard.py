"""What src/dashboard.py builds at W&B: a workspace and a report with the same panels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wandb
from wandb.sdk.lib.service.service_connection import WandbApiFailedError

from deeper.reporting import formats
from deeper.reporting.ablations import ablation_table
from deeper.reporting.panels import ARM, IDENTITY, SECTIONS, STEP, Kind
from deeper.reporting.runs import read_all

try:
    import wandb_workspaces.reports.v2.interface as wr
    import wandb_workspaces.workspaces as ws
except ImportError as error:
    raise ValueError(
        "a dashboard needs the library wandb-workspaces: pip install -e '.[dashboard]'"
    ) from error

ARMS = 50
"""That a panel shows; W&B's own limit is 10."""


def make(cfg: Any) -> None:
    """Raises `ValueError` for folders without runs, without a key, and for what W&B refuses."""
    if not cfg.files:
        raise ValueError("say which runs: `python src/dashboard.py logs/train/multiruns/NAME`")
    runs = read_all(cfg.files)
    try:
        table = formats.markdown(ablation_table(runs, cfg.metric))
    except ValueError as reason:  # the curves are worth a look before the first run has finished
        table = f"No table of {cfg.metric}: {reason}"
        print(table)
    name = cfg.name or Path(cfg.files[0]).resolve().name
    identities = [run.record.get("identity", run.directory.name) for run in runs]
    wandb.setup(wandb.Settings(silent=True))
    try:
        dashboard = Dashboard(_place(cfg, identities), name, table, identities)
        built: dict[str, Any] = {
            "workspace": dashboard.workspace(cfg.workspace),
            "report": dashboard.report(cfg.report),
        }
        for what, made in built.items():
            print(f"{what}: {made.save().url}")
    except (wandb.Error, WandbApiFailedError, ValueError) as error:
        raise ValueError(f"W&B: {' '.join(str(error).split())}") from error
    words = " ".join(f"{what}='{made.url}'" for what, made in built.items())
    print(f"the same command with {words} replaces them")


def _place(cfg: Any, identities: Sequence[str]) -> dict[str, Any]:
    """Entity and project. Raises `ValueError` without a key, and where W&B has none of the runs."""
    if not wandb.login(prompt=False, verify=False):
        raise ValueError("no key (or WANDB_MODE=offline): run `wandb login`, or set WANDB_API_KEY")
    api = wandb.Api()
    entity = cfg.entity or api.default_entity
    try:
        found = len(
            api.runs(f"{entity}/{cfg.project}", {f"config.{IDENTITY}": {"$in": [*identities]}})
        )
    except ValueError:  # no such project
        found = 0
    if not found:
        raise ValueError(
            f"{entity}/{cfg.project} has none of the {len(identities)} runs; train with "
            f"logger=[csv,wandb], or send them: `python src/runs.py send RUN logger=wandb`"
        )
    return {"entity": entity, "project": cfg.project}


@dataclass(frozen=True)
class Dashboard:
    place: Mapping[str, Any]
    """entity and project."""
    name: str
    table: str
    """Markdown."""
    identities: Sequence[str]

    def workspace(self, url: str | None = None) -> ws.Workspace:
        """A new one, or the one at `url` with its content replaced."""
        found = _at(url, ws.Workspace) if url else ws.Workspace(**self.place)
        found.name = self.name
        found.settings = ws.WorkspaceSettings(x_axis=STEP, max_runs=ARMS)
        found.runset_settings = ws.RunsetSettings(filters=self._filter, groupby=[ws.Config(ARM)])
        panels = {"Δ": [wr.MarkdownPanel(markdown=self.table)]} | _panels()
        found.sections = [ws.Section(name=n, panels=p, is_open=True) for n, p in panels.items()]
        found.sections[0].layout_settings = ws.SectionLayoutSettings(columns=1, rows=1)
        return found

    def report(self, url: str | None = None) -> wr.Report:
        """A new one, or the one at `url` with its content replaced."""
        found = _at(url, wr.Report) if url else wr.Report(title=self.name, **self.place)
        found.title, found.width = self.name, "fluid"
        found.blocks = [wr.MarkdownBlock(text=self.table)]
        for name, panels in _panels().items():
            group_by = [f"config.{ARM}"]
            runs = wr.Runset(name=self.name, filters=self._filter, groupby=group_by, **self.place)
            found.blocks += [wr.H2(text=name), wr.PanelGrid(runsets=[runs], panels=panels)]
        return found

    @property
    def _filter(self) -> str:
        return f"Config('{IDENTITY}') in {[*self.identities]}"


def _at(url: str, kind: Any) -> Any:
    try:
        return kind.from_url(url)
    except Exception as error:  # a URL of something else fails in many ways
        raise ValueError(f"no {kind.__name__.lower()} at {url}: {error}") from error


def _panels() -> dict[str, list[Any]]:
    return {
        name: [_panel(kind, key) for kind, keys in section.items() for key in keys]
        for name, section in SECTIONS.items()
    }


def _panel(kind: Kind, key: str) -> Any:
    over_seeds: dict[str, Any] = {
        "groupby": wr.Config(ARM),
        "groupby_aggfunc": "mean",
        "groupby_rangefunc": "stddev",
        "max_runs_to_show": ARMS,
    }
    match kind:
        case "bars":
            return wr.BarPlot(title=key, metrics=[key], max_bars_to_show=ARMS, **over_seeds)
        case "curve":
            return wr.LinePlot(title=key, x=STEP, y=[key], **over_seeds)
        case "curves":
            return wr.LinePlot(title=key, x=STEP, metric_regex=key, **over_seeds)
        case "images":
            return wr.MediaBrowser(title=key, media_keys=[key])
