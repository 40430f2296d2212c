"""Starts an entry point: help, errors of users in plain words, exit codes."""

import functools
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra._internal import utils as hydra_utils
from hydra.core.hydra_config import HydraConfig

from deeper import __version__
from deeper.cli import help, resolvers
from deeper.cli.arguments import CONFIG_FOLDER, config_folders, config_name, quoted, with_files
from deeper.cli.messages import mistake
from deeper.config import overrides, schema
from deeper.runs import directory
from deeper.runs.record import is_interrupt

CONFIGS = str(CONFIG_FOLDER)
"""Absolute, so that an entry point works from any folder and when it is imported."""


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
    hydra_utils.run_and_report = lambda func: func()  # raise, in place of Hydra's report
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
    if is_interrupt(error):  # a Ctrl-C that a library turned into an error of its own
        sys.exit(130)
    message = mistake(error)
    if message is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
        raise error
    print(f"\n{message}", file=sys.stderr)
    directory.discard_refused()
    _discard_sweep()
    sys.exit(getattr(error, "exit_status", 2))


def _discard_sweep() -> None:
    """Remove the folder of a multirun in which no job has begun."""
    if overrides.is_multirun():
        sweep = Path(HydraConfig.get().sweep.dir)
        if sweep.is_dir() and [path.name for path in sweep.iterdir()] == ["multirun.yaml"]:
            shutil.rmtree(sweep)


def _answer(about: str) -> str | None:
    """The text of --help and --version; after `--` these are file names."""
    options = {*sys.argv[1 : sys.argv.index("--") if "--" in sys.argv else None]}
    if {"--help", "-h"} & options:
        return help.text(about, config_name(), config_folders())
    return f"Deeper {__version__}" if "--version" in options else None
