"""Every `_target_` against the signature it will meet: names, required values, types, choices.

Run before anything is built, so that all mistakes are listed at once and no data is touched.
"""

import difflib
import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_object

from deeper.config import trusted as targets

RESERVED = {"_target_", "_partial_", "_args_", "_recursive_", "_convert_"}

GIVEN_LATER: Mapping[str, set[str]] = {
    "data": {"augment", "protocol", "seed"},
    "data.source": {"root", "cache"},
    "model": {"num_classes"},
    "trainer": {"callbacks", "logger", "plugins", "precision"},
}
"""Arguments that the entry points pass by name, by the config key of the object that gets them."""

GIVEN_BY_PLACE: Mapping[str, int] = {"optimizer": 1, "scheduler": 1, "protocol": 2}
"""How many arguments they pass by place to what these keys build: net; progress; size, crop."""


def problems(config: Mapping[str, Any]) -> list[str]:
    """One line a mistake, as `key: what is wrong; what would be right`."""
    return [line for key, node in targets.nodes(config) for line in _mistakes(key, node)]


def _mistakes(key: str, node: Mapping[str, Any]) -> Iterator[str]:
    target = str(node["_target_"])
    try:
        function = get_object(target)
    except Exception:
        yield f"{key}._target_: cannot import {target!r}; is the package installed and spelled so?"
        return
    name = target.rpartition(".")[2]
    parameters = inspect.signature(function).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    hints = _hints(function)
    for argument, value in node.items():
        if argument in RESERVED:
            continue
        if argument not in parameters:
            if not open_ended:
                yield f"{key}.{argument}: {name} has no such argument" + suggestion(
                    argument, parameters
                )
        elif argument in hints and not fits(value, hints[argument]):
            yield f"{key}.{argument}: {name} wants {spell(hints[argument])}, got {value!r}"
    later = GIVEN_LATER.get(key, set())
    if not open_ended:
        for argument in sorted(later - set(parameters)):
            yield f"{key}: {name} has to take {argument}, which it is called with"
    if not node.get("_partial_") or key in {*GIVEN_BY_PLACE, *GIVEN_LATER}:
        given = set(node) | later | {*list(parameters)[: GIVEN_BY_PLACE.get(key, 0)]}
        for argument, parameter in parameters.items():
            variadic = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
            if parameter.default is parameter.empty and argument not in given and not variadic:
                yield f"{key}.{argument}: {name} needs it; pass {key}.{argument}=<value>"


def suggestion(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; it has {', '.join(map(str, known))}"


def _hints(function: Any) -> dict[str, Any]:
    """Annotations that resolve; none where they don't, and then only names are checked."""
    try:
        return get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except Exception:
        return {}


def fits(value: Any, hint: Any) -> bool:
    """Whether a value from YAML may stand for a parameter annotated so; in doubt, it may."""
    if isinstance(value, Mapping):  # a node builds an object, whose type is its own affair
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


def spell(hint: Any) -> str:
    """An annotation in a user's words: `float | null`, `'rgb' | 'bgr'`."""
    if get_origin(hint) in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(spell(option) for option in get_args(hint)))
    if get_origin(hint) is Literal:
        return " | ".join(repr(choice) for choice in get_args(hint))
    if hint is type(None):
        return "null"
    origin = get_origin(hint)
    if origin in (list, tuple) or (inspect.isclass(origin) and issubclass(origin, Sequence)):
        return f"a list of {spell(get_args(hint)[0])}" if get_args(hint) else "a list"
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return f"name → {spell(get_args(hint)[1])}"
    return getattr(hint, "__name__", str(hint))
