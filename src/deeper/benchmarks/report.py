"""Results of a benchmark: a table on the screen and a JSON file."""

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deeper.runs.provenance import provenance


def show_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the numbers and words of each row; lists are only written to the file."""
    shown = [{k: v for k, v in row.items() if not isinstance(v, list)} for row in rows]
    table = Table(title=title, title_justify="left")
    for name, value in shown[0].items():
        table.add_column(name, justify="left" if isinstance(value, str) else "right")
    for row in shown:
        table.add_row(*(f"{v:,}" if isinstance(v, int | float) else v for v in row.values()))
    Console().print(table)


def write(name: str, content: Mapping[str, Any], folder: Path) -> None:
    """Write `folder/<name>-<processor>-<n>-cores.json`: the results with versions and hardware."""
    about, cpu = provenance(), processor()
    # Result files are published: paths of this machine are left out.
    about["command"] = [re.sub(r"=[/~].*", "=DIR", word) for word in about["command"]]
    about["hardware"] = {"cpu": cpu} | about["hardware"]
    words = re.sub(r"[^a-z0-9]+", "-", cpu.lower()).strip("-")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{words}-{os.cpu_count()}-cores.json"
    path.write_text(json.dumps(about | dict(content), indent=1) + "\n")
    print(f"written to {path}")


def processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()
