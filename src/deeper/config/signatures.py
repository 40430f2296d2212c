"""Checks of every `_target_` node against the signature it calls: names, required values, types, choices.

They run before anything is built, so that all mistakes are listed at once and no data is read.
"""

import inspect
import pkgutil
import types
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

from deeper.config.errors import require_none, suggestion
from deeper.config.trusted import nodes, untrusted_targets

RESERVED = {"_target_", "_partial_", "_args_", "_recursive_", "_convert_"}

PASSED: Mapping[str, Mapping[str, str]] = {
    "data": {"augment": "pass augment=", "protocol": "pass protocol=", "seed": "pass data_seed="},
    "data.source": {"root": "pass data.root=", "cache": "pass paths.cache="},
    "model": {"num_classes": "the data set has a number of classes"},
    "trainer": {
        "callbacks": "pass callbacks=", "logger": "pass logger=", "plugins": "leave it out",
        "precision": "pass precision=",
    },
}  # fmt: skip
"""Config key → arguments that the entry points pass by name to what it builds → what a user does."""

POSITIONAL: Mapping[str, int] = {"optimizer": 1, "scheduler": 1, "protocol": 2}
"""Config key → number of positional arguments they pass: net; progress; size, crop."""


def require_buildable(config: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for targets that are not trusted, or for all wrong arguments."""
    require_none(untrusted_targets(config))
    require_none(wrong_arguments(config))


def wrong_arguments(config: Mapping[str, Any]) -> Iterator[str]:
    """One line per mistake: `key: what is wrong; what would be right`."""
    for key, node in nodes(config):
        parameters = _parameters(pkgutil.resolve_name(str(node["_target_"])))
        yield from wrong_arguments_of(key, node, parameters)


def wrong_arguments_of(
    key: str, node: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]
) -> Iterator[str]:
    """The mistakes of one node at `key`, whose target has these parameters."""
    name = str(node["_target_"]).rpartition(".")[2]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    passed = PASSED.get(key, {})
    for argument, value in node.items():
        if argument in RESERVED:
            continue
        if argument in passed:
            yield (f"{key}.{argument}: the program passes this argument itself; {passed[argument]}")
        elif argument not in parameters:
            if not open_ended:
                near = suggestion(argument, parameters)
                yield f"{key}.{argument}: {name} has no such argument{near}"
        elif not suits(value, annotation := parameters[argument].annotation):
            wanted = inspect.formatannotation(annotation)
            yield f"{key}.{argument}: {name} wants {wanted}, got {value!r}"
    if not open_ended:
        for argument in sorted(passed.keys() - parameters.keys()):
            yield f"{key}: {name} has to take {argument}, which it is called with"
    if key in POSITIONAL and not node.get("_partial_"):
        yield f"{key}: needs _partial_: true, as the program calls {name} itself"
    if node.get("_partial_") and key not in {*POSITIONAL, *PASSED}:
        return
    partial = ", or _partial_: true if the program is to pass it"
    otherwise = partial if key.startswith(("model.", "loss.")) else ""
    given = {*node, *passed, *[*parameters][: POSITIONAL.get(key, 0)]}
    for argument, parameter in parameters.items():
        variadic = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if parameter.default is parameter.empty and argument not in given and not variadic:
            yield f"{key}.{argument}: {name} needs it; pass {key}.{argument}=<value>{otherwise}"


@cache
def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    """Annotations that cannot be resolved stay strings, and then only names are checked."""
    try:
        return inspect.signature(function, eval_str=True).parameters
    except Exception:
        return inspect.signature(function).parameters


SCALARS: Mapping[Any, tuple[type, ...]] = {
    float: (int, float), int: (int,), str: (str,), bool: (bool,), type(None): (type(None),),
}  # fmt: skip
"""Annotation → types of YAML's values that suit it. bool is no int here."""


def suits(value: Any, hint: Any) -> bool:
    """Whether a value from YAML suits a type annotation; True in doubt."""
    origin, options = get_origin(hint), get_args(hint)
    if isinstance(value, Mapping) and "_target_" in value:
        return True  # an object that is not built yet
    if origin in (Union, types.UnionType):
        return any(suits(value, option) for option in options)
    if origin is Literal:
        return value in options
    if hint in SCALARS:
        return type(value) in SCALARS[hint]
    if origin in (list, tuple, Sequence):
        if origin is not tuple or Ellipsis in options:
            options = options[:1] * len(value) if isinstance(value, list) else ()
        return isinstance(value, list) and all(map(suits, value, options))
    return origin is not Mapping or isinstance(value, Mapping)
