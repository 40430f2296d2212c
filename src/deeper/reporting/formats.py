"""The ablation table as text: for the screen, Markdown, LaTeX, CSV and JSON."""

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

import numpy as np
from rich.console import JustifyMethod

from deeper.reporting.ablations import AblationTable, Row

TO_LATEX = str.maketrans({
    "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
    "<": r"$<$", ">": r"$>$", "±": r"$\pm$", "−": "$-$", "≥": r"$\geq$", "≤": r"$\leq$", "×": r"$\times$", "…": r"\dots{}",
    "Δ": r"$\Delta$",
})  # fmt: skip

TEXT = ("experiment", "the paper says", "verdict", "missing")
"""Columns that are words."""

FILES_ONLY = ("finds", "parameters, M", "MACs, M", "images/s")
"""Columns for which a terminal has no room."""


def title(table: AblationTable) -> str:
    points = " in points" if scale_of(table.metric) == 100 else ""
    return f"recipe={table.recipe}, {table.metric}; Δ{points} against the baseline, by seed, 95 %"


def scale_of(metric: str) -> int:
    """100 for fractions of images, which are shown in percent and points."""
    return 100 if metric.endswith(("top1", "top5")) else 1


def cells(table: AblationTable) -> tuple[list[str], list[list[str]]]:
    """Columns and rows; a column that is empty in all rows is left out."""
    rows = [_cells(row, table) for row in table.rows]
    columns = [name for name in rows[0] if any(row[name] for row in rows)]
    return columns, [[row[name] for name in columns] for row in rows]


def _cells(row: Row, table: AblationTable) -> dict[str, str]:
    scale = scale_of(table.metric)
    places = 2 if scale == 100 else 4

    def number(value: float, sign: str = "") -> str:
        return f"{scale * value:{sign}.{places}f}".replace("-", "−")

    difference = row.difference
    interval = difference.interval if difference and difference.pairs > 1 else None
    deviation = f" ± {number(row.deviation)}" if len(row.values) > 1 else ""
    costs = row.costs
    return {
        "experiment": row.arm.replace("+", " + "),
        "n": str(len(row.values)),
        f"{table.metric}{' %' if scale == 100 else ''}": f"{number(row.mean)}{deviation}" if row.values else "",
        "Δ": number(difference.mean, "+") if difference else "",
        "interval": "{} … {}".format(*(number(end, "+") for end in interval)) if interval else "",
        "finds": number(row.detectable) if row.detectable else "",
        "the paper says": _claimed(row),
        "verdict": "dead: no better than chance" if row.dead else row.verdict or "",
        "parameters, M": _both(costs, "parameters", 1e6),
        "MACs, M": _both(costs, "macs", 1e6),
        "images/s": f"{table.speeds[row.arm]:.0f}" if row.arm in table.speeds else "",
        "missing": _absent(row.absent),
    }  # fmt: skip


def _claimed(row: Row) -> str:
    if row.claim is None:
        return ""
    if row.claim.margin:
        return f"{row.claim.says} (within {100 * row.claim.margin:.1f})"
    size = f" by {100 * row.claim.size:.1f}" if row.claim.size else ""
    return f"{row.claim.says} ({row.claim.direction}{size})"


def _absent(seeds: Mapping[str, Sequence[int]]) -> str:
    return "; ".join(f"{why}: seed {', '.join(map(str, which))}" for why, which in seeds.items())


def _both(costs: Mapping[str, Any], what: str, unit: float) -> str:
    """In training and in inference."""
    if not costs:
        return ""
    found = [costs.get(f"{what}_{when}") for when in ("training", "inference")]
    return " / ".join("?" if number is None else f"{number / unit:.2f}" for number in found)


def alignments(columns: Sequence[str]) -> dict[str, JustifyMethod]:
    return {name: "left" if name in TEXT else "right" for name in columns}


def markdown(table: AblationTable) -> str:
    columns, rows = cells(table)
    rule = [":--" if name in TEXT else "--:" for name in columns]
    lines = ["| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in row) + " |"
             for row in (columns, rule, *rows)]  # fmt: skip
    return (
        f"{title(table)}; finds: the difference that n seeds find in 4 of 5 studies\n\n"
        + "\n".join(lines)
        + "\n"
    )


def latex(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """For the packages booktabs and inputenc; compiles with pdflatex."""
    align = "".join("l" if name in TEXT else "r" for name in columns)
    lines = [
        " & ".join(cell.translate(TO_LATEX) for cell in row) + r" \\" for row in (columns, *rows)
    ]
    body = [rf"\begin{{tabular}}{{{align}}}", r"\toprule", lines[0], r"\midrule", *lines[1:]]
    return "\n".join([*body, r"\bottomrule", r"\end{tabular}"]) + "\n"


def comma_separated(table: AblationTable) -> str:
    """One row per arm, with plain numbers."""
    out = StringIO()
    rows = numbers(table)["arms"]
    flat = [{**row, "seeds": " ".join(map(str, row["seeds"])), "absent": _absent(row["absent"])}
            for row in rows]  # fmt: skip
    writer = csv.DictWriter(out, fieldnames=[key for key in flat[0] if key not in ("values", "costs")],
                            extrasaction="ignore", lineterminator="\n")  # fmt: skip
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()


def numbers(table: AblationTable) -> dict[str, Any]:
    """All that the table is made of; null for what is not known."""
    arms = []
    for row in table.rows:
        d = row.difference
        low, high = d.interval if d and d.pairs > 1 else (None, None)
        arms.append({
            "experiment": row.arm,
            "n": len(row.values),
            "mean": row.mean,
            "std": row.deviation,
            "difference": d.mean if d else None,
            "low": low,
            "high": high,
            "standard_error": d.error if d and np.isfinite(d.error) else None,
            "degrees_of_freedom": d.degrees if d else None,
            "pairs": d.pairs if d else 0,
            "detectable": row.detectable,
            "claim": row.claim.says if row.claim else None,
            "claimed_direction": str(row.claim.direction) if row.claim else None,
            "claimed_size": row.claim.size if row.claim else None,
            "margin": row.claim.margin if row.claim else None,
            "verdict": row.verdict,
            "dead": row.dead,
            "absent": dict(row.absent),
            "seeds": [run.seed for run in row.runs if run.result(table.metric) is not None],
            "values": [*row.values],
            "costs": dict(row.costs),
            "images_per_s": table.speeds.get(row.arm),
        })  # fmt: skip
    return {"metric": table.metric, "recipe": table.recipe, "arms": arms}
