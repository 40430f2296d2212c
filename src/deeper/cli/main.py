"""From a shell to `main(cfg)` and back: plain words for mistakes, exit codes."""

import functools
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deeper import __version__
from deeper.cli import help, resolvers
from deeper.cli.arguments import quoted, with_files
from deeper.config import schema
from deeper.config.errors import own_words, raised_in
from deeper.runs import directory as runs
from deeper.runs.record import is_interrupt

CONFIGS = str(resolvers.PROJECT / "configs")
"""Absolute, so that an entry point works from any folder and when it is imported."""


def start(main: Callable[..., Any], files: bool = False) -> None:
    """Run a `hydra.main` function. Exit 2 for a user's mistake, 1 for a crash, 130 for Ctrl-C.

    With `files`, plain words are the config's `files`.

    HYDRA_FULL_ERROR=1 shows the traceback of a mistake too.
    """
    if answer := _answer(sys.modules[main.__module__].__doc__ or ""):
        if hasattr(signal, "SIGPIPE"):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `--help | head` is no crash
        print(answer)
        sys.exit(0)
    schema.register()
    resolvers.register()
    # Let exceptions through instead of Hydra's own report; children decide for themselves.
    os.environ.setdefault(_ASKED, os.environ.get("HYDRA_FULL_ERROR", "0"))
    os.environ["HYDRA_FULL_ERROR"] = "1"
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


def _answer(about: str) -> str | None:
    """What --help and --version say; behind `--` they are names."""
    options = {*sys.argv[1 : sys.argv.index("--") if "--" in sys.argv else None]}
    if {"--help", "-h"} & options:
        return help.text(about, _config_name(), _config_folders())
    return f"Deeper {__version__}" if "--version" in options else None


def refuse(error: Exception) -> None:
    """Say a user's mistake and exit 2; raise anything else, and all where tracebacks are asked for."""
    message = mistake(error)
    if message is None or os.environ.get(_ASKED) == "1":
        raise error
    print(f"\n{message}", file=sys.stderr)
    runs.discard_refused()
    sys.exit(getattr(error, "exit_status", 2))


_ASKED = "DEEPER_FULL_ERROR"

GRAMMAR = ("mismatched input", "no viable alternative", "extraneous input", "token recognition")
"""How Hydra's parser begins its complaints."""

QUOTE = """put the value in quotes, and all in others for the shell: 'key="the value"'"""


def task(function: Callable[..., Any]) -> Callable[..., Any]:
    """Stands under `hydra.main`, which would print its own line above ours."""

    @functools.wraps(function)
    def run(cfg: Any) -> Any:
        try:
            return function(cfg)
        except Exception as error:
            refuse(error)

    return run


def mistake(error: BaseException) -> str | None:
    """The text for a user's mistake; None for what deserves a traceback."""
    from hydra.errors import HydraException, InstantiationException
    from omegaconf.errors import OmegaConfBaseException

    if words := own_words(error) or _from_a_worker(str(error)):
        return words
    if hasattr(error, "exit_status"):
        return str(error)  # a full disk, a diverged training: a traceback does not help
    for cause in (error, error.__cause__):
        if (
            type(cause).__name__ == "MisconfigurationException"
        ):  # Lightning's, of a trainer's values
            return f"trainer: {cause}"
    if isinstance(error, InstantiationException):
        return None  # a constructor crashed: its author wants the traceback
    if isinstance(error, HydraException | OmegaConfBaseException):
        return in_plain_words(error)
    if isinstance(error, ValueError) and raised_in("hydra", error):
        return _no_option() or f"{error}; --help lists what may be said"
    return None


def _no_option() -> str | None:
    """The word that gives a group what cannot be the name of an option: a number, true, null."""
    for word in sys.argv[1:]:
        key, _, value = word.partition("=")
        options = help.groups(_config_folders()).get(key, [])
        if options and value[:1] != "[" and not {*value.split(",")} <= {*options}:
            return f"{word}: no such option; choose from {', '.join(options)}"
    return None


def _from_a_worker(text: str) -> str | None:
    """Our own words out of the traceback that a DataLoader worker sent in place of its exception."""
    if "Caught ValueError in DataLoader worker" not in text:
        return None
    traceback, _, message = text.rpartition("\nValueError: ")
    raised_in = re.findall(r'File "([^"]+)", line', traceback)[-1:]
    ours = [f for f in raised_in if Path(f).is_relative_to(Path(__file__).parents[1])]
    return message.strip() if ours else None


def in_plain_words(error: BaseException) -> str:
    """Hydra's message without its advice to append a key with +, which hides most typos."""
    text = str(error)
    word = getattr(error, "override", None)
    if word is not None and "=" not in word:
        return (
            f"{word or repr(word)}: no key=value; this program takes no files, and --help lists "
            f"what it takes"
        )
    if found := re.search(r"Could not override '([^']+)'\.\nTo append", text):
        key = found[1]
        return f"Could not override {key!r}: {_near(key)}"
    if word is not None and text.startswith(GRAMMAR):
        complaint = text.partition("\n")[0].partition(" expecting")[0]
        return f"{word}: Hydra cannot read this ({complaint}); {QUOTE}"
    reason = str(error.__cause__ or "").partition("\n")[0]
    return text if reason in text else f"{text}\n{reason}"


def _near(key: str) -> str:
    """What else stands where the key was looked for, in the config as it is without overrides."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    from deeper.config.experiments import flat
    from deeper.config.signatures import suggestion

    added = [f'"file://{folder.absolute()}"' for folder in _config_folders()[1:]]
    search = [f"hydra.searchpath=[{','.join(added)}]"] if added else []
    groups = [word for word in sys.argv[1:] if re.fullmatch(r"(recipe|model|data)=\w+", word)]
    GlobalHydra.instance().clear()
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        try:
            known = flat(compose(_config_name(), [*search, *groups]))
        except HydraException:
            return "no such key"
    holder = key.rpartition(".")[0]
    names = {k[len(holder) :].strip(".").partition(".")[0] for k in known if k.startswith(holder)}
    if not names:
        return f"no such key; there is no {holder} either" if holder else "no such key"
    return "no such key" + suggestion(key.rpartition(".")[2], sorted(names))


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
