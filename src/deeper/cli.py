"""From a shell to `main(cfg)` and back: quoting of paths, plain words for mistakes, exit codes."""

import os
import re
import sys
from collections.abc import Callable
from typing import Any

from deeper import runs
from deeper.config import resolvers, schema
from deeper.config.refusals import own_words

PATH_KEYS = ("data.root", "resume", "run", "ckpt", "paths.logs", "paths.data", "paths.cache")


def start(main: Callable[..., Any]) -> None:
    """Run a `hydra.main` function. Exit 2 for a user's mistake, 1 for a crash, 130 for Ctrl-C.

    HYDRA_FULL_ERROR=1 shows the traceback of a mistake too.
    """
    schema.register()
    resolvers.register()
    sys.argv[1:] = [quoted(word) for word in sys.argv[1:]]
    verbose = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let exceptions through instead of Hydra's own report
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        message = mistake(error)
        if message is None or verbose:
            raise
        print(f"\n{message}", file=sys.stderr)
        runs.discard_refused()
        sys.exit(2)
    finally:
        if not verbose:
            os.environ.pop("HYDRA_FULL_ERROR", None)


def quoted(word: str) -> str:
    """A path as Hydra's grammar wants it. Quoting twice changes nothing: DDP ranks run argv again."""
    key, equals, value = word.partition("=")
    plain = re.fullmatch(r"[\w./~+-]+", value)
    if not equals or key.lstrip("+") not in PATH_KEYS or not value or plain or value[0] in "'\"[":
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
    if found := re.search(r"Could not override '([^']+)'\.\nTo append.*\n(.*)", text, re.S):
        key = found[1]
        return f"Could not override {key!r}: {_near(key)}"
    return text


def _near(key: str) -> str:
    from hydra.core.global_hydra import GlobalHydra

    from deeper.config.experiments import composed, flat
    from deeper.config.signatures import suggestion

    if not GlobalHydra.instance().is_initialized():
        return "no such key"
    known = flat(composed("train", []))
    holder = key.rpartition(".")[0]
    names = {k[len(holder) :].strip(".").partition(".")[0] for k in known if k.startswith(holder)}
    return "no such key" + suggestion(key.rpartition(".")[2], sorted(names))
