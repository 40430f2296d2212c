"""What src/report.py prints and writes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from deeper.files import json_text, whole
from deeper.reporting import formats, page
from deeper.reporting.ablations import ablation_table
from deeper.reporting.keep import keep
from deeper.reporting.mistakes import images_of
from deeper.reporting.plan import show_plan
from deeper.reporting.runs import read_all
from deeper.table import show_table

PLAN = "plan"
"""The first word of a command that asks for a plan."""


def make(cfg: Any) -> None:
    """Raises `ValueError` for folders without runs, and for runs that cannot be compared."""
    files = [*cfg.files]
    wants_plan = files[:1] == [PLAN]
    folders = files[1:] if wants_plan else files
    if not folders:
        raise ValueError(
            "say which runs: `python src/report.py logs/train/multiruns/NAME`, or run directories"
        )
    runs = read_all(folders)
    if cfg.keep:
        print(f"kept {keep(runs, folders, Path(cfg.keep).expanduser())} runs in {cfg.keep}")
    if wants_plan:
        show_plan(runs, cfg.metric)
        return
    table = ablation_table(runs, cfg.metric)
    if cfg.speed:
        from deeper.reporting.speed import images_per_second  # imports torch

        arms = {row.arm: row.finished[0] for row in table.rows if row.values}
        table = replace(table, speeds=images_per_second(arms, cfg.paths.cache))
    columns, rows = formats.cells(table)
    shown = [place for place, name in enumerate(columns) if name not in formats.FILES_ONLY]
    show_table(
        formats.title(table),
        formats.alignments([columns[place] for place in shown]),
        [[row[place] for place in shown] for row in rows],
    )
    out = Path(cfg.out or Path(cfg.paths.logs) / "report" / Path(folders[0]).resolve().name)
    out = out.expanduser()
    out.mkdir(parents=True, exist_ok=True)
    images = None
    if cfg.data.root and cfg.mistakes and table.rows[0].values:
        images = images_of(table.rows[0].finished[0], cfg.data.root, cfg.paths.cache)
    command = ["python", "src/report.py", *folders, f"metric={cfg.metric}"]
    texts = {
        "table.md": formats.markdown(table),
        "table.tex": formats.latex(columns, rows),
        "table.csv": formats.comma_separated(table),
        "table.json": json_text(formats.numbers(table), indent=1) + "\n",
        "index.html": page.html(table, command, cfg.mistakes, images),
    }
    for name, text in texts.items():
        with whole(out / name) as path:
            path.write_text(text)
    print(f"{out}: {', '.join(texts)}")
