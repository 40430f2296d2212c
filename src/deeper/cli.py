"""From a shell to `main(cfg)` and back: quoting of paths, plain words for mistakes, exit codes."""

import functools
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from deeper import runs
from deeper.config import resolvers, schema
from deeper.config.refusals import own_words

CONFIGS = str(resolvers.PROJECT / "configs")
"""Absolute, so that an entry point works from any folder and when it is imported."""

PATH_KEYS = ("data.root", "resume", "run", "ckpt", "paths.logs", "paths.data", "paths.cache")


def start(main: Callable[..., Any]) -> None:
    """Run a `hydra.main` function. Exit 2 for a user's mistake, 1 for a crash, 130 for Ctrl-C.

    HYDRA_FULL_ERROR=1 shows the traceback of a mistake too.
    """
    schema.register()
    resolvers.register()
    sys.argv[1:] = [quoted(word) for word in sys.argv[1:]]
    # Let exceptions through instead of Hydra's own report; children decide for themselves.
    os.environ.setdefault(_ASKED, os.environ.get("HYDRA_FULL_ERROR", "0"))
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        main()
    except (KeyboardInterrupt, SystemExit) as error:
        if runs.is_interrupt(error):
            sys.exit(130)
        raise
    except Exception as error:
        refuse(error)


def refuse(error: Exception) -> None:
    """Say a user's mistake and exit 2; raise anything else, and all where tracebacks are asked for."""
    message = mistake(error)
    if message is None or os.environ.get(_ASKED) == "1":
        raise error
    print(f"\n{message}", file=sys.stderr)
    runs.discard_refused()
    sys.exit(getattr(error, "exit_status", 2))


_ASKED = "DEEPER_FULL_ERROR"


def task(function: Callable[..., Any]) -> Callable[..., Any]:
    """Stands under `hydra.main`, which would print its own line above ours."""

    @functools.wraps(function)
    def run(cfg: Any) -> Any:
        try:
            return function(cfg)
        except Exception as error:
            refuse(error)

    return run


def quoted(word: str) -> str:
    """A path as Hydra's grammar wants it. Quoting twice changes nothing: DDP ranks run argv again."""
    key, equals, value = word.partition("=")
    plain = re.fullmatch(r"[\w./~+-]+", value)
    if (
        not equals
        or key.lstrip("+") not in PATH_KEYS
        or not value
        or plain
        or value == "???"
        or value[0] in "'\"["
    ):
        return word
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}="{escaped}"'


def mistake(error: BaseException) -> str | None:
    """The text for a user's mistake; None for what deserves a traceback."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if words := own_words(error):
        return words
    if found := re.search(
        r"Caught ValueError in DataLoader worker.*\nValueError: (.*)", str(error), re.S
    ):
        return found[1].strip()
    if isinstance(error, HydraException | OmegaConfBaseException):
        return in_plain_words(error)
    return None


def in_plain_words(error: BaseException) -> str:
    """Hydra's message without its advice to append a key with +, which hides most typos."""
    text = str(error)
    if found := re.search(r"Could not override '([^']+)'\.\nTo append", text):
        key = found[1]
        return f"Could not override {key!r}: {_near(key)}"
    reason = str(error.__cause__ or "").partition("\n")[0]
    return text if reason in text else f"{text}\n{reason}"


def _near(key: str) -> str:
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from deeper.config.experiments import composed, flat
    from deeper.config.signatures import suggestion

    GlobalHydra.instance().clear()
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        known = flat(composed("train", []))
    holder = key.rpartition(".")[0]
    names = {k[len(holder) :].strip(".").partition(".")[0] for k in known if k.startswith(holder)}
    return "no such key" + suggestion(key.rpartition(".")[2], sorted(names))
