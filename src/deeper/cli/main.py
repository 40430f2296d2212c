"""Starts an entry point: help, errors of users in plain words, exit codes."""

import functools
import os
import re
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hydra._internal import utils as hydra_utils
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from deeper import __version__
from deeper.cli import help, resolvers
from deeper.cli.arguments import quoted, with_files
from deeper.config import schema
from deeper.config.errors import closest, raised_in, user_error
from deeper.runs import directory
from deeper.runs.record import is_interrupt

CONFIGS = str(resolvers.PROJECT / "configs")
"""Absolute, so that an entry point works from any folder and when it is imported."""

UNREADABLE = ("mismatched input", "no viable alternative", "extraneous input", "token recognition")
"""How messages of Hydra's parser begin."""

QUOTE = """put the value in quotes, and all in others for the shell: 'key="the value"'"""


def start(main: Callable[..., Any], files: bool = False) -> None:
    """Run a `hydra.main` function. Exit 2 for a user's mistake, 1 for a crash, 130 for Ctrl-C.

    With `files`, plain words become the config's `files`. HYDRA_FULL_ERROR=1 shows the traceback of a
    mistake too.
    """
    if answer := _answer(sys.modules[main.__module__].__doc__ or ""):
        if hasattr(signal, "SIGPIPE"):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `--help | head` is no crash
        print(answer)
        sys.exit(0)
    schema.register()
    resolvers.register()
    hydra_utils.run_and_report = lambda function: function()  # raise, in place of Hydra's report
    try:
        given = with_files(sys.argv[1:]) if files else sys.argv[1:]
        sys.argv[1:] = [quoted(word) for word in given]
        main()
    except (KeyboardInterrupt, SystemExit) as error:
        if is_interrupt(error):
            sys.exit(130)
        raise
    except Exception as error:
        refuse(error)


def task(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates the function under `hydra.main`, which would print a line above our message."""

    @functools.wraps(function)
    def run(cfg: Any) -> Any:
        try:
            return function(cfg)
        except Exception as error:
            refuse(error)

    return run


def refuse(error: Exception) -> None:
    """Print a user's mistake, remove what Hydra wrote, exit 2. Raise any other error."""
    message = mistake(error)
    if message is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
        raise error
    print(f"\n{message}", file=sys.stderr)
    directory.discard_refused()
    _discard_sweep()
    sys.exit(getattr(error, "exit_status", 2))


def mistake(error: BaseException) -> str | None:
    """The message for a user's mistake; None for an error that deserves a traceback."""
    if words := user_error(error) or _from_a_worker(str(error)):
        return words
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark
        place = f"{mark.name}, line {mark.line + 1}: " if mark else ""
        return f"{place}not YAML: {error.problem or error.context}"
    if hasattr(error, "exit_status"):
        return str(error)  # a full disk, a diverged training: a traceback does not help
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
    # OmegaConf's wrapping of what one of our resolvers refused
    if found := re.match(
        r"ValueError raised while resolving interpolation: (.*)\n +full_key", text
    ):
        return found[1]
    word = getattr(error, "override", None)
    if word is not None and "=" not in word:
        return (
            f"{word or repr(word)}: no key=value; this program takes no files, and --help lists "
            f"what it takes"
        )
    if found := re.search(r"Could not override '([^']+)'\.\nTo append", text):
        return f"Could not override {found[1]!r}: {_near(found[1])}"
    if found := re.search(r"Could not find '([^']+)/([^'/]+)'", text):
        options = help.groups(_config_folders()).get(found[1], [])
        advice = closest(found[2], options) or f"; choose from {', '.join(options)}"
        return f"{found[1]}={found[2]}: no such option{advice}"
    if word is not None and text.startswith(UNREADABLE):
        complaint = text.partition("\n")[0].partition(" expecting")[0]
        return f"{word}: Hydra cannot read this ({complaint}); {QUOTE}"
    reason = str(error.__cause__ or "").partition("\n")[0]
    return text if reason in text else f"{text}\n{reason}"


def _near(key: str) -> str:
    """The known key closest to the first unknown part of a key, in the config without overrides."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from deeper.config.experiments import flat
    from deeper.config.signatures import suggestion

    added = [f'"file://{folder.absolute()}"' for folder in _config_folders()[1:]]
    search = [f"hydra.searchpath=[{','.join(added)}]"] if added else []
    groups = [word for word in sys.argv[1:] if re.fullmatch(r"(recipe|model|data)=\w+", word)]
    GlobalHydra.instance().clear()
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        try:
            known = [name.split(".") for name in flat(compose(_config_name(), [*search, *groups]))]
        except HydraException:
            return "no such key"
    for place, part in enumerate(key.split(".")):
        if not any(name[place : place + 1] == [part] for name in known):
            names = sorted({name[place] for name in known if name[place:]})
            if place == 0:
                return f"no such key{closest(part, names) or '; --help lists what there is'}"
            return "no such key" + suggestion(part, names)
        known = [name for name in known if name[place : place + 1] == [part]]
    return "no such key"


def _no_option() -> str | None:
    """The word that gives a group what cannot be the name of an option: a number, true, null."""
    for word in sys.argv[1:]:
        key, _, value = word.partition("=")
        options = help.groups(_config_folders()).get(key, [])
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
    return any(
        frame.f_code.co_name == "run" and frame.f_globals is globals() for frame, _ in frames
    )


def _discard_sweep() -> None:
    """Remove the folder of a multirun in which no job has begun."""
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        sweep = Path(HydraConfig.get().sweep.dir)
        if sweep.is_dir() and [path.name for path in sweep.iterdir()] == ["multirun.yaml"]:
            shutil.rmtree(sweep)


def _answer(about: str) -> str | None:
    """The text of --help and --version; after `--` these are file names."""
    options = {*sys.argv[1 : sys.argv.index("--") if "--" in sys.argv else None]}
    if {"--help", "-h"} & options:
        return help.text(about, _config_name(), _config_folders())
    return f"Deeper {__version__}" if "--version" in options else None


def _config_name() -> str:
    return _option("--config-name", "-cn") or Path(sys.argv[0]).stem


def _config_folders() -> list[Path]:
    added = _option("--config-dir", "-cd")
    return [Path(CONFIGS), *([Path(added)] if added else [])]


def _option(*names: str) -> str | None:
    """The value of one of Hydra's own options on the command line."""
    for place, word in enumerate(sys.argv):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else next(iter(sys.argv[place + 1 :]), None)
    return None
