"""Starts an entry point: help, errors of users in plain words, exit codes."""

import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra._internal import utils as hydra_utils

from deeper import __version__
from deeper.cli.arguments import quoted, with_files
from deeper.cli.composition import guard_hydra
from deeper.cli.help import help_text
from deeper.cli.messages import mistake
from deeper.cli.resolvers import register_resolvers
from deeper.config.groups import CONFIG_FOLDER, hydra_option
from deeper.config.schema import register_schemas
from deeper.processes import follow_parent
from deeper.runs import directory
from deeper.runs.record import is_interrupt
from deeper.signals import Stopped

CONFIGS = str(CONFIG_FOLDER)
"""Absolute, so that an entry point works from any folder and when it is imported."""


def start(main: Callable[..., Any], files: bool = False) -> None:
    """Run a `hydra.main` function. Exit 2 for a user's mistake, 1 for a crash, 130 for Ctrl-C.

    With `files`, plain words become the config's `files`. HYDRA_FULL_ERROR=1 shows the traceback of a
    mistake too.
    """
    if answer := _answer(sys.modules[main.__module__].__doc__ or ""):
        end_with_pipe()
        print(answer)
        sys.exit(0)
    follow_parent()
    register_schemas()
    register_resolvers()
    guard_hydra()
    hydra_utils.run_and_report = lambda func: func()  # raise, in place of Hydra's report
    try:
        given = with_files(sys.argv[1:]) if files else sys.argv[1:]
        sys.argv[1:] = [quoted(word) for word in given]
        main()
    except (KeyboardInterrupt, SystemExit) as error:
        if is_interrupt(error):
            sys.exit(130)
        raise
    except (Exception, Stopped) as error:
        exit_for(error)


def end_with_pipe() -> None:
    """For what only prints: `| head` is no crash."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def task(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates the function under `hydra.main`, which would print a line above our message."""

    @functools.wraps(function)
    def run(cfg: Any) -> Any:
        try:
            return function(cfg)
        except (Exception, Stopped) as error:
            exit_for(error)

    return run


def exit_for(error: BaseException) -> None:
    """Print a user's mistake, remove what Hydra wrote, exit 2. Raise any other error."""
    if is_interrupt(error):  # a Ctrl-C that a library turned into an error of its own
        sys.exit(130)
    message = mistake(error)
    if message is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
        raise error
    print(f"\n{message}", file=sys.stderr)
    directory.discard_refused()
    sys.exit(getattr(error, "exit_status", 2))


def _answer(about: str) -> str | None:
    """The text of --help and --version; after `--` these are file names."""
    options = {*sys.argv[1 : sys.argv.index("--") if "--" in sys.argv else None]}
    if {"--help", "-h"} & options:
        return help_text(about, hydra_option("--config-name", "-cn") or Path(sys.argv[0]).stem)
    return f"Deeper {__version__}" if "--version" in options else None
