"""Arguments of this project's classes and functions, read from their source: an import takes seconds."""

import ast
import collections.abc
import typing
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from inspect import Parameter
from pathlib import Path
from typing import Any

from deeper.config.signatures import wrong_arguments_of
from deeper.config.trusted import ROOMS, nodes

SOURCE = Path(__file__).parents[2]

NAMES = vars(typing) | vars(collections.abc)
"""What annotations are made of that can be looked up without an import, beside builtins."""


def wrong_arguments(config: Mapping[str, Any]) -> Iterator[str]:
    """As `signatures.wrong_arguments`, of what is written in this project alone."""
    for key, node in nodes(config):
        if (parameters := parsed_parameters(str(node["_target_"]))) is not None:
            yield from wrong_arguments_of(key, node, parameters)


@cache
def parsed_parameters(target: str) -> dict[str, Parameter] | None:
    """Parameters by name; None for what is not ours, and for a class without an __init__ of its own.

    A default is None whatever it is, and an annotation that needs an import stays a string.
    """
    module, _, name = target.rpartition(".")
    file = SOURCE / f"{module.replace('.', '/')}.py"
    if not module.startswith(tuple(f"deeper.{room}." for room in ROOMS)) or not file.is_file():
        return None
    found = _definition(ast.parse(file.read_bytes()).body, name)
    bound = isinstance(found, ast.ClassDef)
    if isinstance(found, ast.ClassDef):
        found = _definition(found.body, "__init__")
    if not isinstance(found, ast.FunctionDef):
        return None
    return {p.name: p for p in [*_parameters(found.args)][bound:]}


def _definition(body: Sequence[ast.stmt], name: str) -> ast.stmt | None:
    kinds = (ast.ClassDef, ast.FunctionDef)
    return next((item for item in body if isinstance(item, kinds) and item.name == name), None)


def _parameters(arguments: ast.arguments) -> Iterator[Parameter]:
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    for place, argument in enumerate(positional):
        yield _parameter(argument, Parameter.POSITIONAL_OR_KEYWORD, place >= required)
    if arguments.vararg:
        yield _parameter(arguments.vararg, Parameter.VAR_POSITIONAL)
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _parameter(argument, Parameter.KEYWORD_ONLY, default is not None)
    if arguments.kwarg:
        yield _parameter(arguments.kwarg, Parameter.VAR_KEYWORD)


def _parameter(argument: ast.arg, kind: Any, has_default: bool = False) -> Parameter:
    text = ast.unparse(argument.annotation) if argument.annotation else "Any"
    try:
        annotation = eval(text, dict(NAMES))  # our own source
    except Exception:
        annotation = text
    default = None if has_default else Parameter.empty
    return Parameter(argument.arg, kind, default=default, annotation=annotation)
