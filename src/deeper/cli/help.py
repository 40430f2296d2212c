"""--help: what an entry point does, and the options of its config groups.

Hydra's own help takes seconds for 30 groups, since it copies the config for each of them.
"""

import yaml

from deeper.config.groups import config_folders, group_options


def help_text(about: str, config_name: str) -> str:
    """`about` is the docstring of the entry point, `config_name` the name of its root config."""
    used = _groups_of(config_name)
    lines = [about.strip(), "", "Groups (group=option; several as group=[a,b]):"]
    for group, options in group_options().items():
        if group.partition("/")[0] in used:
            lines.append(f"  {group}={'|'.join(options)}")
    lines += [
        "",
        "Values (key=value): --cfg job shows them all, --cfg job --resolve with interpolations resolved.",
        "Hydra's own options (--multirun, --config-dir, shell completion …): --hydra-help.",
    ]
    return "\n".join(lines)


def _groups_of(config_name: str) -> set[str]:
    """Groups in the defaults list of a root config."""
    files = [path for f in config_folders() if (path := f / f"{config_name}.yaml").is_file()]
    defaults = (yaml.safe_load(files[-1].read_text()) or {}).get("defaults", []) if files else []
    keys = (key for entry in defaults if isinstance(entry, dict) for key in entry)
    return {key.rpartition(" ")[2].partition("@")[0] for key in keys}  # "optional", "override"
