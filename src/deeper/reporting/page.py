"""The report as one page of HTML: no script, no other file, no request."""

import shlex
from collections import Counter
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from deeper.data.source import LabelledImages
from deeper.figures import confusion, curves, forest
from deeper.inference.outputs import thumbnail
from deeper.reporting import formats
from deeper.reporting.ablations import AblationTable
from deeper.reporting.mistakes import Mistake, worst
from deeper.reporting.runs import StoredRun

CLASSES_SHOWN = 20
"""The most classes of a confusion matrix."""

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; display: block; overflow-x: auto }
td, th { border-bottom: 1px solid #ddd; padding: .3rem .7rem; text-align: right; white-space: nowrap }
td.text, th.text { text-align: left } td.wide { white-space: normal; min-width: 14rem }
svg { max-width: 100%; height: auto }
pre { background: #f5f5f5; padding: .7rem; overflow-x: auto } figure { display: inline-block; margin: .5rem; width: 10rem }
figure img { width: 100% } figcaption { font-size: 12px } .holds { color: #228833 } .contradicted { color: #cc3311 }
"""


def html(
    table: AblationTable,
    command: Sequence[str],
    mistakes: int = 0,
    images: LabelledImages | None = None,
) -> str:
    """The worst `mistakes` are shown by their `images`, the test images, and named without these."""
    baseline = table.rows[0].finished
    parts = [
        f"<h1>Ablations of recipe={escape(table.recipe)}</h1>",
        f"<p>{escape(formats.title(table))}</p>",
        _table(table),
        "<p>finds: the difference that this number of seeds finds in 4 of 5 studies. Verdicts are at 5 % for all "
        "claims of the table together (Holm); intervals count seeds and test images as chance.</p>",
        "<h2>Differences from the baseline</h2>",
        forest.draw(formats.numbers(table)).svg(),
        "<h2>Validation over epochs</h2>",
        curves.draw({"val/top1": _validation(table)}, "epoch").svg(),
        "<p>Lines are means over seeds, bands reach from the worst to the best seed.</p>",
        *_confusion(baseline),
        *_mistakes(baseline, mistakes, images),
        "<h2>What was run</h2>",
        _facts(table),
        f"<pre>{escape(shlex.join(command))}</pre>",
    ]
    head = f"<title>{escape(formats.title(table))}</title><style>{STYLE}</style>"
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    meta = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
    return f'<!doctype html><html lang="en"><head>{meta}{head}</head><body>{"".join(parts)}</body></html>\n'


def _table(table: AblationTable) -> str:
    columns, rows = formats.cells(table)
    head = "".join(f'<th class="{_kind(name, "")}">{escape(name)}</th>' for name in columns)
    lines = []
    for row in rows:
        cells = [
            f'<td class="{_kind(name, text)}">{escape(text)}</td>'
            for name, text in zip(columns, row, strict=True)
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _kind(column: str, text: str) -> str:
    """Classes of a cell; a verdict of one word is one of them."""
    if column == "verdict" and text.isalpha():
        return f"text {text}"
    wide = " wide" if column == "the paper says" else ""
    return f"text{wide}" if column in formats.TEXT else ""


def _validation(table: AblationTable) -> curves.Lines:
    found = {row.arm: [run.series("val/top1") for run in row.finished] for row in table.rows}
    return {arm: known for arm, lines in found.items() if (known := [xy for xy in lines if xy[0]])}


def _confusion(runs: Sequence[StoredRun]) -> list[str]:
    found = [run.outcomes for run in runs if run.outcomes]
    if not found or len(names := found[0]["classes"]) > CLASSES_SHOWN:
        return []
    counts: NDArray[np.int64] = np.zeros((len(names), len(names)), np.int64)
    for outcomes in found:
        np.add.at(counts, (outcomes["label"], outcomes["predicted"]), 1)
    about = f"<p>Of the baseline, over {len(found)} seeds; rows are labels, percent of a row.</p>"
    return ["<h2>Confusion</h2>", about, confusion.draw(counts, names.tolist()).svg()]


def _mistakes(runs: Sequence[StoredRun], number: int, images: LabelledImages | None) -> list[str]:
    found = worst(runs, number)
    if not found:
        return []
    return [
        "<h2>Worst mistakes</h2>",
        f"<p>Test images with the largest loss of their label, over {len(runs)} seeds of the baseline.</p>",
        *(_figure(mistake, images) for mistake in found),
    ]


def _figure(mistake: Mistake, images: LabelledImages | None) -> str:
    picture = f'<img alt="" src="{thumbnail(images[mistake.index][0])}">' if images else ""
    words = f"image {mistake.index}: {mistake.label}, taken for {mistake.predicted}; loss {mistake.loss:.1f}"
    return f"<figure>{picture}<figcaption>{escape(words)}</figcaption></figure>"


def _facts(table: AblationTable) -> str:
    """Where and with what the runs were made; several where they differ."""
    records = [run.record for row in table.rows for run in row.runs if run.record]
    about = {
        "commit": [str(r.get("commit")) for r in records],
        "hardware": [
            ", ".join(r["hardware"]["gpus"]) or r["hardware"]["processor"] for r in records
        ],
        "torch": [r["versions"]["torch"] for r in records],
        "precision": [r["precision"]["used"] for r in records],
        "images": [f"fingerprint {r['data']}, {r['images']['total']:,} in all" for r in records],
    }
    lines = []
    for name, values in about.items():
        counts = Counter(values)
        text = "; ".join(v if len(counts) == 1 else f"{v} ({n} runs)" for v, n in counts.items())
        lines.append(f'<tr><td class="text">{name}</td><td class="text">{escape(text)}</td></tr>')
    hours = sum(r.get("seconds", 0.0) for r in records) / 3600
    lines.append(
        f'<tr><td class="text">time</td><td class="text">{hours:.1f} h of all runs</td></tr>'
    )
    return f"<table>{''.join(lines)}</table>"
