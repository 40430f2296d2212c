"""Results of benchmarks: a table each on the screen, a table of figures at the end, a JSON file."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import JustifyMethod

from deeper.benchmarks.setting import Setting
from deeper.benchmarks.timing import Contest, Counts, Figure, Times, ratio
from deeper.runs.provenance import processor, provenance
from deeper.table import show_table

Row = dict[str, Any]


class Report:
    """Shows results as they come, and keeps them in `folder/<hardware>.json`, a part for each benchmark.

    A part that is measured again is replaced, and all others stay.
    """

    def __init__(self, setting: Setting, folder: str, rounds: int) -> None:
        self.about = provenance() | {"settings": setting.facts | {"rounds": rounds}}
        # Result files are published: paths of this machine are left out.
        self.about["command"] = [re.sub(r"=[/~].*", "=DIR", w) for w in self.about["command"]]
        self.path = Path(folder).expanduser() / f"{_hardware(setting)}.json"
        self.parts: dict[str, Any] = {}
        self.figures: list[Row] = []

    def add(self, benchmark: str, result: Contest | Counts, times: Times) -> None:
        if isinstance(result, Contest):
            rows = [_row(result, name, times) for name in result.passes]
            figures = [_figure(f, result, times) for f in result.figures if f.found_in(times)]
            content = result.about | {"unit": result.unit, "figures": figures}
            self.figures += figures
        else:
            rows, content = result.rows, {}
        show(result.title, rows)
        part = self.parts.setdefault(benchmark, self.about | {"results": []})
        part["results"].append({"title": result.title} | content | {"rows": rows})
        old = json.loads(self.path.read_text()) if self.path.exists() else {}
        parts = json.loads(
            json.dumps(self.parts), parse_float=lambda text: float(f"{float(text):.5g}")
        )
        self.path.write_text(json.dumps(old | parts, indent=1, ensure_ascii=False) + "\n")

    def show_figures(self) -> None:
        if self.figures:
            show("figures", self.figures)
        print(f"written to {self.path}")


def show(title: str, rows: Sequence[Row]) -> None:
    """Print the rows as a table: a ratio as median (least–largest); lists of rounds are left out."""
    columns: dict[str, JustifyMethod] = {
        key: "left" if isinstance(value, str) else "right"
        for key, value in rows[0].items()
        if not isinstance(value, list)
    }
    show_table(title, columns, [[_shown(row[key]) for key in columns] for row in rows])


def _row(contest: Contest, name: str, times: Times) -> Row:
    value = median(map(contest.value, times[name]))
    ratios = {f"× {base}": ratio(times[name], times[base])._asdict() for base in contest.baselines}
    return {"contestant": name, contest.unit: value} | ratios | {"rounds_s": times[name]}


def _figure(figure: Figure, contest: Contest, times: Times) -> Row:
    measured = figure.measured(times, contest.work)
    aim = f"≥ {figure.at_least:g}" if figure.at_least else f"≤ {figure.at_most:g}"
    return {
        "figure": figure.name, "of": figure.fastest(times), "measured": measured, "aim": aim,
        "met": "yes" if figure.met(measured) else "no",
    }  # fmt: skip


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{value['median']:.2f} ({value['least']:.2f}–{value['largest']:.2f})"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _hardware(setting: Setting) -> str:
    """A file name: the GPU; or the processor, its vectors (virtual machines name processors vaguely), its cores."""
    if setting.device.type == "cuda":
        words = torch.cuda.get_device_name(setting.device)
    else:
        vectors = torch.backends.cpu.get_cpu_capability() + "-bf16" * setting.has_bf16
        words = f"{processor()}-{vectors}-{os.cpu_count()}-cores"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
