"""Refuses to compare runs that differ in more than their experiments and seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

from deeper.config.experiments import flattened
from deeper.reporting.runs import StoredRun
from deeper.runs.identity import SEEDS, relevant

KEYS_NAMED = 5


def require_comparable(runs: Sequence[StoredRun]) -> None:
    """Raises `ValueError` that names two runs and what differs: settings, images or code."""
    for run in runs[1:]:
        first = runs[0]
        if run.record["cell"] != first.record["cell"]:
            same_cell = [r for r in runs if r.record["cell"] == first.record["cell"]]
            same_arm = next((r for r in same_cell if r.arm == run.arm), first)
            raise ValueError(_refusal(same_arm, run, _differing_keys(same_arm.config, run.config)))
        # A part of the user's own is in packages that the baseline does not have.
        peer = next(r for r in runs if r.arm == run.arm)
        for what, key, other in (
            ("the images", "data", first), ("the code in src/", "source", first), ("the code", "code", peer),
        ):  # fmt: skip
            one, two = (r.record.get(key, r.record["code"]) for r in (other, run))
            if one != two:
                raise ValueError(_refusal(other, run, f"{what} (fingerprint {one}, {two})"))


def _refusal(a: StoredRun, b: StoredRun, differs: str) -> str:
    return (
        f"{a.directory} and {b.directory} differ in more than their experiments and seeds: {differs}; "
        f"report them apart"
    )


def _differing_keys(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """lr (0.1, 0.2), …"""
    found = [setting for setting in differing_settings(a, b) if setting[0] not in SEEDS]
    named = [f"{key} ({x}, {y})" for key, x, y in found[:KEYS_NAMED]]
    return (
        ", ".join(named + ["…"] * (len(found) > KEYS_NAMED))
        or "their command lines, though no setting"
    )


def differing_settings(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Key, value here, value there, of the settings that change the numbers."""
    left, right = dict(flattened(relevant(a))), dict(flattened(relevant(b)))
    keys = [key for key in left | right if left.get(key) != right.get(key)]
    return [(key, left.get(key), right.get(key)) for key in keys]
