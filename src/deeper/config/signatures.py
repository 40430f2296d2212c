"""Checks of every `_target_` node against the signature it calls: names, required values, types, choices.

They run before anything is built, so that all mistakes are listed at once and no data is read.
"""

import inspect
import pkgutil
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from deeper.config.errors import closest
from deeper.config.trusted import nodes

RESERVED = {"_target_", "_partial_", "_args_", "_recursive_", "_convert_"}

GIVEN_LATER: Mapping[str, set[str]] = {
    "data": {"augment", "protocol", "seed"},
    "model": {"num_classes"},
    "trainer": {"callbacks", "logger", "plugins", "precision"},
}
"""Config key → arguments that the entry points pass by name to what it builds."""

GIVEN_BY_PLACE: Mapping[str, int] = {"optimizer": 1, "scheduler": 1, "protocol": 2}
"""Config key → number of positional arguments they pass: net; progress; size, crop."""

INSTEAD = {
    "trainer.precision": "pass precision=",
    "trainer.callbacks": "pass callbacks=",
    "trainer.logger": "pass logger=",
    "model.num_classes": "the data set has a number of classes",
    "data.seed": "pass data_seed=",
}


def problems(config: Mapping[str, Any]) -> list[str]:
    """One line per mistake: `key: what is wrong; what would be right`."""
    return [line for key, node in nodes(config) for line in _mistakes(key, node)]


def _mistakes(key: str, node: Mapping[str, Any]) -> Iterator[str]:
    target = str(node["_target_"])
    try:
        function = pkgutil.resolve_name(target)
    except Exception as error:
        yield f"{key}._target_: cannot import {target!r} ({error})"
        return
    name = target.rpartition(".")[2]
    parameters = inspect.signature(function).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    hints = _hints(function)
    later = GIVEN_LATER.get(key, set())
    for argument, value in node.items():
        if argument in RESERVED:
            continue
        if argument in later:
            instead = INSTEAD.get(f"{key}.{argument}", "leave it out")
            yield f"{key}.{argument}: the program passes this argument itself; {instead}"
            continue
        if argument not in parameters:
            if not open_ended:
                yield f"{key}.{argument}: {name} has no such argument" + suggestion(
                    argument, parameters
                )
        elif argument in hints and not fits(value, hints[argument]):
            yield f"{key}.{argument}: {name} wants {type_name(hints[argument])}, got {value!r}"
    if not open_ended:
        for argument in sorted(later - set(parameters)):
            yield f"{key}: {name} has to take {argument}, which it is called with"
    if not node.get("_partial_") or key in GIVEN_BY_PLACE:
        given = set(node) | later | {*list(parameters)[: GIVEN_BY_PLACE.get(key, 0)]}
        for argument, parameter in parameters.items():
            variadic = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
            if parameter.default is parameter.empty and argument not in given and not variadic:
                yield f"{key}.{argument}: {name} needs it; pass {key}.{argument}=<value>"


def suggestion(word: str, known: Any) -> str:
    """The known word that is near, or all of them."""
    return closest(word, known) or f"; it has {', '.join(map(str, known))}"


def _hints(function: Any) -> dict[str, Any]:
    """Type annotations; none where they cannot be resolved, and then only names are checked."""
    try:
        return get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except Exception:
        return {}


def fits(value: Any, hint: Any) -> bool:
    """Whether a value from YAML suits a type annotation; True in doubt."""
    if isinstance(value, Mapping):  # a node, whose object is not built yet
        return "_target_" in value or not _is_scalar(hint)
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, option) for option in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if hint is type(None):
        return value is None
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (str, bool):
        return isinstance(value, hint)
    if origin in (list, tuple) or (inspect.isclass(origin) and issubclass(origin, Sequence)):
        return isinstance(value, list) and all(
            fits(item, option) for item, option in _pairs(value, origin, get_args(hint))
        )
    return not (inspect.isclass(origin) and issubclass(origin, Mapping))


def _is_scalar(hint: Any) -> bool:
    if get_origin(hint) in (Union, types.UnionType):
        return all(_is_scalar(option) for option in get_args(hint))
    return hint in (int, float, str, bool, type(None)) or get_origin(hint) is Literal


def _pairs(value: list[Any], origin: Any, options: tuple[Any, ...]) -> Iterator[tuple[Any, Any]]:
    if not options:
        return iter(())
    if origin is tuple and options[-1] is not Ellipsis:
        return zip(value, options, strict=False)
    return ((item, options[0]) for item in value)


def type_name(hint: Any) -> str:
    """A type annotation as a user would write it: `float | null`, `'rgb' | 'bgr'`."""
    if get_origin(hint) in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(type_name(option) for option in get_args(hint)))
    if get_origin(hint) is Literal:
        return " | ".join(repr(choice) for choice in get_args(hint))
    if hint is type(None):
        return "null"
    origin = get_origin(hint)
    if origin in (list, tuple) or (inspect.isclass(origin) and issubclass(origin, Sequence)):
        return f"a list of {type_name(get_args(hint)[0])}" if get_args(hint) else "a list"
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return f"name → {type_name(get_args(hint)[1])}"
    return getattr(hint, "__name__", str(hint))
