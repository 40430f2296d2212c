"""Messages for the mistakes of users, in place of tracebacks and of Hydra's own words."""

import re
import sys
import traceback
from pathlib import Path

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, InstantiationException
from omegaconf.errors import OmegaConfBaseException

from deeper.cli import help
from deeper.cli.arguments import CONFIG_FOLDER, config_folders, config_name
from deeper.config.errors import closest, raised_in, user_error
from deeper.config.experiments import flat

UNREADABLE = ("mismatched input", "no viable alternative", "extraneous input", "token recognition")
"""How messages of Hydra's parser begin."""

QUOTE = """put the value in quotes, and all in others for the shell: 'key="the value"'"""


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
            f"written>, or a shorter name="
        )
    if isinstance(error, ValueError) and raised_in("hydra", error):
        return _no_option() or f"{error}; --help lists the options"
    return None


def _in_plain_words(error: BaseException) -> str:
    """Hydra's message without its advice to append a key with +, which hides most typos."""
    text = str(error)
    word = getattr(error, "override", None)
    if word is not None and "=" not in word:
        return (
            f"{word or repr(word)}: no key=value; this program takes no files, and --help lists "
            f"what it takes"
        )
    if found := re.search(r"Could not override '([^']+)'\.\nTo append", text):
        return f"Could not override {found[1]!r}: {_near(found[1])}"
    if found := re.search(r"Could not find '([^']+)/([^'/]+)'", text):
        options = help.groups(config_folders()).get(found[1], [])
        advice = closest(found[2], options) or f"; choose from {', '.join(options)}"
        return f"{found[1]}={found[2]}: no such option{advice}"
    if word is not None and text.startswith(UNREADABLE):
        complaint = text.partition("\n")[0].partition(" expecting")[0]
        return f"{word}: Hydra cannot read this ({complaint}); {QUOTE}"
    reason = str(error.__cause__ or "").partition("\n")[0]
    return text if reason in text else f"{text}\n{reason}"


def _near(key: str) -> str:
    """The known key closest to the first unknown part of a key, in the config without overrides."""
    added = [f'"file://{folder.absolute()}"' for folder in config_folders()[1:]]
    search = [f"hydra.searchpath=[{','.join(added)}]"] if added else []
    groups = [word for word in sys.argv[1:] if re.fullmatch(r"(recipe|model|data)=\w+", word)]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        try:
            known = [name.split(".") for name in flat(compose(config_name(), [*search, *groups]))]
        except HydraException:
            return "no such key"
    for place, part in enumerate(key.split(".")):
        if not any(name[place : place + 1] == [part] for name in known):
            names = sorted({name[place] for name in known if name[place:]})
            known_names = f"it has {', '.join(names)}" if place else "--help lists what there is"
            return "no such key" + (closest(part, names) or f"; {known_names}")
        known = [name for name in known if name[place : place + 1] == [part]]
    return "no such key"


def _no_option() -> str | None:
    """The word that gives a group what cannot be the name of an option: a number, true, null."""
    for word in sys.argv[1:]:
        key, _, value = word.partition("=")
        options = help.groups(config_folders()).get(key, [])
        if options and value[:1] != "[" and not {*value.split(",")} <= {*options}:
            return f"{word}: no such option; choose from {', '.join(options)}"
    return None


def _from_a_worker(text: str) -> str | None:
    """Our message in the traceback that a DataLoader worker sends in place of its exception."""
    if "Caught ValueError in DataLoader worker" not in text:
        return None
    frames, _, message = text.rpartition("\nValueError: ")
    files = re.findall(r'File "([^"]+)", line', frames)
    is_ours = bool(files) and Path(files[-1]).is_relative_to(Path(__file__).parents[1])
    return message.strip() if is_ours else None


def _in_task(error: BaseException) -> bool:
    """Whether the entry point's own function had begun, beyond Hydra's work around it."""
    frames = traceback.walk_tb(error.__traceback__)
    wrapper = ("deeper.cli.main", "run")
    return any((f.f_globals.get("__name__"), f.f_code.co_name) == wrapper for f, _ in frames)
