"""What a config or a command line names as a secret, which is written nowhere."""

import re
from collections.abc import Mapping
from typing import Any

NAME = r"\w*(?:password|passwd|passphrase|secret|token|credentials?|(?:api|access|private)_?key)"
KEY = re.compile(NAME, re.IGNORECASE)
WORD = re.compile(
    rf"""({NAME}['"]?\s*[=:]\s*)("[^"]*"|'[^']*'|\[[^]]*\]|[^,}}\]\n]+)""", re.IGNORECASE
)


def without_secrets(content: Any) -> Any:
    """Plain values with *** for what stands under the key of a secret, or follows it in a word."""
    if isinstance(content, Mapping):
        return {
            key: "***" if _is_secret(key, value) else without_secrets(value)
            for key, value in content.items()
        }
    if isinstance(content, list):
        return [without_secrets(value) for value in content]
    return WORD.sub(r"\1***", content) if isinstance(content, str) else content


def _is_secret(key: Any, value: Any) -> bool:
    """A switch or a number, as class_token: true, is none."""
    has_value = bool(value) and not isinstance(value, bool | int | float)
    return has_value and KEY.fullmatch(str(key)) is not None
