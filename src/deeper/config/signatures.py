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
    "data.source": {"root", "cache"},
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
    function = pkgutil.resolve_name(target)
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
    if not node.get("_partial_") or key in {*GIVEN_BY_PLACE, *GIVEN_LATER}:
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


SCALARS: Mapping[Any, tuple[type, ...]] = {
    float: (int, float), int: (int,), str: (str,), bool: (bool,), type(None): (type(None),),
}  # fmt: skip
"""Annotation → types of YAML's values that suit it. bool is no int here."""


def fits(value: Any, hint: Any) -> bool:
    """Whether a value from YAML suits a type annotation; True in doubt."""
    origin, options = get_origin(hint), get_args(hint)
    if isinstance(value, Mapping) and "_target_" in value:
        return True  # an object that is not built yet
    if origin in (Union, types.UnionType):
        return any(fits(value, option) for option in options)
    if origin is Literal:
        return value in options
    if hint in SCALARS:
        return type(value) in SCALARS[hint]
    if origin in (list, tuple, Sequence):
        if origin is not tuple or Ellipsis in options:
            options = options[:1] * len(value) if isinstance(value, list) else ()
        return isinstance(value, list) and all(map(fits, value, options))
    return origin is not Mapping or isinstance(value, Mapping)


def type_name(hint: Any) -> str:
    """A type annotation as a user would write it: `float | null`, `'rgb' | 'bgr'`."""
    if get_origin(hint) in (Union, types.UnionType):
        return " | ".join(type_name(option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return " | ".join(repr(choice) for choice in get_args(hint))
    if hint is type(None):
        return "null"
    is_plain = inspect.isclass(hint) and not get_args(hint)
    return hint.__name__ if is_plain else str(hint).replace("collections.abc.", "")
