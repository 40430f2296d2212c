"""Folders of config files, and the groups and options that these files are. Imports no Hydra."""

import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
CONFIG_FOLDER = PROJECT / "configs"


def config_folders() -> list[Path]:
    """Our config folder, and that of --config-dir."""
    added = hydra_option("--config-dir", "-cd")
    return [CONFIG_FOLDER, *([Path(added)] if added else [])]


def hydra_option(*names: str) -> str | None:
    """The value of one of Hydra's own options on the command line."""
    for place, word in enumerate(sys.argv):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else next(iter(sys.argv[place + 1 :]), None)
    return None


def group_options() -> dict[str, list[str]]:
    """Group → its options. A file whose name begins with _ is shared by options and is none itself."""
    found: dict[str, set[str]] = {}
    for folder in config_folders():
        for path in folder.glob("*/**/*.yaml"):
            group = path.parent.relative_to(folder).as_posix()
            if not path.name.startswith("_") and not group.startswith("hydra"):
                found.setdefault(group, set()).add(path.stem)
    return {group: sorted(found[group]) for group in sorted(found)}
