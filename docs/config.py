"""Writes docs/config.md: every key and group of configs/, from its YAML comments and our docstrings.

python docs/config.py
"""

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import pairwise
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import yaml

from deeper.config import schema
from deeper.config.groups import CONFIG_FOLDER, group_options
from deeper.config.trusted import nodes

PAGE = Path(__file__).with_suffix(".md")

COMMANDS = [
    kind
    for name, kind in vars(schema).items()
    if (CONFIG_FOLDER / f"{name.lower()}.yaml").is_file() and issubclass(kind, schema.Command)
]
"""Schemas of the entry points."""

HEAD = """
# Every setting

`key=value` sets a key, `group=option` chooses a file of `configs/<group>/`, and `+key=value` passes an argument
that the file does not list. The keys of an option are below its group: `width` of `model` is `model.width`.
`python src/train.py recipe=paper --cfg job --resolve` shows what the words of a command come to.
`python docs/config.py` writes this page from the YAML files and the code.
"""


def page() -> str:
    options, chosen = group_options(), defaults()
    options.pop("local", None)  # the user's own
    order = [*chosen, *options]
    groups = sorted(options, key=lambda group: (order.index(group.partition("/")[0]), group))
    parts = [
        HEAD, "## Keys of the commands", *map(command, COMMANDS), "## Groups",
        *(group_section(group, options[group], chosen.get(group)) for group in groups),
    ]  # fmt: skip
    return "\n\n".join(part.strip() for part in parts) + "\n"


def command(kind: Any) -> str:
    """The keys of an entry point that are no groups."""
    file = CONFIG_FOLDER / f"{kind.__name__.lower()}.yaml"
    above = schema.Train if kind is schema.Convert else schema.Command
    known = {field.name for field in fields(above)} - ({"trust"} if kind is schema.Train else set())
    rows = keys_of_schema(kind, known)
    return f"### `src/{file.stem}.py`\n\n{comment(file)}\n\n{table('key', 'default', '', rows)}"


def keys_of_schema(kind: Any, known: set[str], above: str = "") -> Iterator[tuple[str, str, str]]:
    told, from_file = field_docstrings(kind), dict(keys(CONFIG_FOLDER / "train.yaml"))
    defaults = kind()
    for field in fields(kind):
        value, key = getattr(defaults, field.name), above + field.name
        if key in known:
            continue
        if is_dataclass(value):
            yield from keys_of_schema(type(value), known, f"{key}.")
        elif above or key not in group_options():
            written, _ = from_file[key] if value == "???" and key in from_file else ("", "")
            about = told.get(field.name, "")
            text = " ".join([*choices(value, about), about]).strip()
            yield code(key), code(written or as_yaml(value)), text


def group_section(group: str, options: list[str], default: str | None) -> str:
    """A table of the options, and the classes of this project that they build."""
    folder = CONFIG_FOLDER / group
    rows, classes = [], {}
    for file in [*folder.glob("_*.yaml"), *(folder / f"{option}.yaml" for option in options)]:
        targets = [node["_target_"] for _, node in nodes(yaml.safe_load(file.read_text()))]
        told = {target: first_line(resolve_name(target)) for target in targets}
        about = comment(file) or " ".join(told.values())
        classes |= {
            t: line for t, line in told.items() if "deeper." in t and line not in ("", about)
        }
        name = "every option" if file.stem[0] == "_" else code(file.stem)
        name += " (default)" if file.stem == default else ""
        values = [f"{code(f'{key}: {value}')} {escaped(said)}" for key, (value, said) in keys(file)]
        rows.append((name, about, "<br>".join(map(str.strip, values))))
    level = "####" if "/" in group else "###"
    built = [f"- {code(target)}: {line}" for target, line in classes.items()]
    return "\n\n".join([f"{level} `{group}`", table("option", "", "sets", rows), "\n".join(built)])


def defaults() -> dict[str, str]:
    """Group → the option that a training has unless the command says another, in train.yaml's order."""
    found: dict[str, str] = {}
    for group, option in listed_defaults(CONFIG_FOLDER / "train.yaml"):
        found.setdefault(group.partition("/")[0], option)
        below = listed_defaults(CONFIG_FOLDER / group / f"{option}.yaml")
        found |= {f"{group}/{part}": option for part, option in below}
    return found


def listed_defaults(file: Path) -> Iterator[tuple[str, str]]:
    """Group, option of a defaults list; of `callbacks/meter` the group is `callbacks`."""
    entries = (yaml.safe_load(file.read_text()) or {}).get("defaults", []) if file.is_file() else []
    for entry in entries:
        for group, option in entry.items() if isinstance(entry, dict) else [(entry, None)]:
            yield group, str(*option) if isinstance(option, list) and option else str(option)


def comment(file: Path) -> str:
    """The first sentence of the comment on top of a file."""
    lines: list[str] = []
    for line in file.read_text().splitlines():
        if not line.startswith("#") or (lines and re.match(r"# [A-Z]\w+: ", line)):
            break
        if not line.startswith("# @"):
            lines.append(line.removeprefix("#").strip())
    question, text = re.match(r"(Question: )?(.*)", " ".join(lines)).groups()  # type: ignore[union-attr]
    return escaped(first_sentence(text[:1].upper() + text[1:] if question else text))


def first_line(target: Any) -> str:
    return escaped(
        first_sentence(" ".join((inspect.getdoc(target) or "").split("\n\n")[0].split()))
    )


def first_sentence(text: str) -> str:
    return re.split(r"(?<=[.?]) (?=[A-Z§])", text, maxsplit=1)[0].strip()


def keys(file: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """Key → value and the comment behind it, of a file's values and of the groups that it overrides."""
    text = file.read_text()
    root = yaml.compose(text)
    group = file.parent.relative_to(CONFIG_FOLDER).as_posix()
    for key, node in leaves(root, group) if isinstance(root, yaml.MappingNode) else ():
        written = text[node.start_mark.index : node.end_mark.index]
        said = text[node.end_mark.index :].partition("\n")[0].partition("#")[2].strip()
        value = node.value if isinstance(node, yaml.ScalarNode) and node.value else written
        yield key.removeprefix("hydra.sweeper.params."), (value, said)


def leaves(node: yaml.MappingNode, group: str, above: str = "") -> Iterator[tuple[str, yaml.Node]]:
    for name, value in node.value:
        key = f"{above}{name.value}"
        if key == "defaults":
            entries = [e.value for e in value.value if isinstance(e, yaml.MappingNode)]
            for word, option in (pair for entry in entries for pair in entry):
                part = word.value.removeprefix("override ")
                yield part[1:] if part[0] == "/" else f"{group}/{part}", option
        elif isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
            yield from leaves(value, group, f"{key}.")
        elif not name.value.startswith("_"):
            yield key, value


def field_docstrings(kind: type) -> dict[str, str]:
    """Field → the string below it, of a dataclass and of those it inherits from."""
    told: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        body = ast.parse(inspect.getsource(base)).body[0].body  # type: ignore[attr-defined]
        for item, after in pairwise(body):
            if isinstance(item, ast.AnnAssign) and isinstance(after, ast.Expr):
                told[item.target.id] = escaped(after.value.value)  # type: ignore[attr-defined,union-attr]
    return told


def choices(value: Any, told: str) -> list[str]:
    """The words that a key may have, unless its docstring names them."""
    names = [choice.value for choice in type(value)] if isinstance(value, Enum) else []
    return [f"{', '.join(names[:-1])} or {names[-1]}."] if not all(n in told for n in names) else []


def as_yaml(value: Any) -> str:
    text = value.value if isinstance(value, Enum) else value
    return (
        "required"
        if text == "???"
        else yaml.safe_dump(text, width=200).removesuffix("...\n").strip().strip("'")
    )


def code(text: str) -> str:
    return f"`{' '.join(text.split())}`"


def escaped(text: str) -> str:
    """<class> and * as they are, outside of code."""
    parts = re.split("(`[^`]*`)", text)
    return "".join(p if p[:1] == "`" else re.sub(r"([<*])", r"\\\1", p) for p in parts)


def table(*title_and_rows: Any) -> str:
    *title, rows = title_and_rows
    lines: list[Iterable[str]] = [title, ["---"] * len(title), *rows]
    return "\n".join(
        f"| {' | '.join(c.replace('|', chr(92) + '|') for c in line)} |" for line in lines
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
