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
    """Plain values with *** for what stands under the key of a secret, or follows it in a word.

    A switch, as class_token: true, is no secret; a number may be one.
    """
    if isinstance(content, Mapping):
        return {
            key: "***"
            if value and value is not True and KEY.fullmatch(str(key))
            else without_secrets(value)
            for key, value in content.items()
        }
    if isinstance(content, list):
        return [without_secrets(value) for value in content]
    return WORD.sub(r"\1***", content) if isinstance(content, str) else content
