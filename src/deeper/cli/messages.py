"""Messages for the mistakes of users, in place of tracebacks and of Hydra's own words."""

import errno
import re
import sys
import traceback
from pathlib import Path

import yaml
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from deeper.config.errors import raised_in, suggestion, user_error
from deeper.config.experiments import no_such_part
from deeper.config.groups import group_options
from deeper.config.overrides import chosen_options
from deeper.config.translation import translation

ROOT_GROUPS = ("recipe", "experiment", "debug")
"""Groups whose options change the whole config, and that are no keys of it."""


def mistake(error: BaseException) -> str | None:
    """The message for a user's mistake; None for an error that deserves a traceback."""
    if words := user_error(error) or _from_a_worker(str(error)):
        return words
    if hasattr(error, "exit_status"):  # a full disk, a diverged training
        return str(error)
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark
        place = f"{mark.name}, line {mark.line + 1}: " if mark else ""
        return f"{place}not YAML: {error.problem or error.context}"
    for cause in (error, error.__cause__):
        if type(cause).__name__ == "MisconfigurationException":  # Lightning's
            return f"trainer: {cause}"
    if isinstance(error, InstantiationException):
        return None  # a constructor crashed
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _in_plain_words(error)
    if isinstance(error, OSError) and not _in_task(error):
        return (
            f"cannot make {error.filename}: {error.strerror}; pass paths.logs=<a folder that can be "
            f"written>"
        )
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS):
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, ValueError) and raised_in("hydra", error):
        return str(error)
    return None


def _in_plain_words(error: Exception) -> str:
    """Hydra's message without its advice to append a key with +, which hides most typos."""
    text, word = str(error), getattr(error, "override", None)
    cause = error.__cause__ or error.__context__
    if word is not None and "=" not in word:
        return f"{word or repr(word)}: no key=value; this program takes no files"
    if word is not None:
        complaint = text.partition("\nSee")[0].partition(" expecting")[0]
        return (
            f"{word}: Hydra cannot read this ({complaint}); put the value in quotes, and all in "
            f"""others for the shell: 'key="the value"'"""
        )
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        word, known = f"{group}={option}", group_options().get(group) or error.options
        if known:
            return f"{word}: no such option{translation(word) or suggestion(option, known)}"
    if isinstance(cause, ConfigAttributeError | ConfigKeyError):
        place = re.split("[:\n]", text)[0].rstrip(".")  # In 'recipe/mine', Could not override 'lrr'
        key, known = str(cause.key), [*cause.parent_node]
        if key in ROOT_GROUPS:
            chosen = ",".join(chosen_options(key, sys.argv[1:]))
            return f"{key}={chosen}: the first line of its file has to be # @package _global_"
        known += ROOT_GROUPS if "scales" in known else ()  # a training's
        named = "" if key in place else f"{key}: "
        here = translation(place.rpartition(" ")[2].strip("'") if key in place else key)
        return f"{place}: {named}no such key{here or suggestion(key, known)}"
    if found := re.search(r"'experiment/(\S+)': Could not override '([^'@]+).*'\. No match", text):
        return no_such_part(found[1], found[2], sys.argv[1:])
    lines = [line for line in text.splitlines() if not line.startswith("To append")]
    reason = str(cause or "").partition("\n")[0]
    return "\n".join(lines if reason in text else [*lines, reason])


def _in_task(error: BaseException) -> bool:
    """Whether the entry point's own function had begun, beyond Hydra's work around it."""
    frames = traceback.walk_tb(error.__traceback__)
    wrapper = ("deeper.cli.main", "run")
    return any((f.f_globals.get("__name__"), f.f_code.co_name) == wrapper for f, _ in frames)


def _from_a_worker(text: str) -> str | None:
    """Our message in the traceback that a DataLoader worker sends in place of its exception."""
    if "Caught ValueError in DataLoader worker" not in text:
        return None
    frames, _, message = text.rpartition("\nValueError: ")
    files = re.findall(r'File "([^"]+)", line', frames)
    is_ours = bool(files) and Path(files[-1]).is_relative_to(Path(__file__).parents[1])
    return message.strip() if is_ours else None
