"""The rows of a run's metrics.jsonl. Imports no torch."""

import json
from pathlib import Path
from typing import Any

FILE = "metrics.jsonl"


def rows(run: Path) -> list[dict[str, Any]]:
    """Without a last one that a crash cut short; none where there is no file.

    Raises `ValueError` for a line that is no row.
    """
    path = run / FILE
    found, lines = [], path.read_text().splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if not isinstance(row["step"], int):
                raise TypeError("step is no integer")
            found.append(row)
        except (ValueError, TypeError, KeyError):
            if number < len(lines):
                raise ValueError(
                    f"{path}, line {number}: not a row of metrics; remove the line, or start a new run"
                ) from None
    return found
