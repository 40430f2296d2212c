"""--help: what an entry point does, and the options of its config groups.

Hydra's own help takes seconds for 30 groups, since it copies the config for each of them.
"""

from collections.abc import Sequence
from pathlib import Path

import yaml


def text(about: str, name: str, folders: Sequence[Path]) -> str:
    """`about` is the docstring of the entry point, `name` its config's, `folders` hold config files."""
    used = composed_of(name, folders)
    lines = [about.strip(), "", "Groups (group=option; several as group=[a,b]):"]
    for group, options in groups(folders).items():
        if group.partition("/")[0] in used:
            lines.append(f"  {group}={'|'.join(options)}")
    lines += [
        "",
        "Values (key=value): --cfg job shows them all, --cfg job --resolve with interpolations resolved.",
        "Hydra's own options (--multirun, --config-dir, shell completion …): --hydra-help.",
    ]
    return "\n".join(lines)


def composed_of(name: str, folders: Sequence[Path]) -> set[str]:
    """Groups in the defaults list of a root config."""
    files = [path for folder in folders if (path := folder / f"{name}.yaml").is_file()]
    defaults = (yaml.safe_load(files[-1].read_text()) or {}).get("defaults", []) if files else []
    keys = (key for entry in defaults if isinstance(entry, dict) for key in entry)
    return {key.rpartition(" ")[2].partition("@")[0] for key in keys}  # "optional", "override"


def groups(folders: Sequence[Path]) -> dict[str, list[str]]:
    """Group → its options. A file whose name begins with _ is shared by options and is none itself."""
    found: dict[str, set[str]] = {}
    for folder in folders:
        for path in folder.glob("*/**/*.yaml"):
            group = path.parent.relative_to(folder).as_posix()
            if not path.name.startswith("_") and not group.startswith("hydra"):
                found.setdefault(group, set()).add(path.stem)
    return {group: sorted(found[group]) for group in sorted(found)}
