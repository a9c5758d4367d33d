"""The text that this program writes, wherever it goes: nothing in it steers a terminal or hides what it says.

Titles, names of files and of runs, logs, and the answers of servers and of Slurm are not ours. Control characters in
them move the cursor or change what was printed before; bidirectional ones show text in another order than a program
reads it.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any, TextIO

_UNSEEN = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and newline
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional
    "\u200b\u2028\u2029\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # without a shape
    "\ud800-\udfff"  # bytes of a file's name that are no UTF-8, which no stream could write
    "]"
)
_PICTURES, _DELETE = 0x2400, 0x7F
"""Where Unicode's pictures of the control characters begin, in their order; `DEL` follows them."""


def visible(text: str) -> str:
    """Return the text with a sign of one column for each character that would steer a terminal or be invisible.

    Tabs and newlines stay.
    """
    return _UNSEEN.sub(_sign, text)


def _sign(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code == _DELETE:
        return "\u2421"
    return chr(_PICTURES + code) if code < ord(" ") else "\ufffd"


def visible_strings(value: Any) -> Any:
    """Return a document of dicts, lists and scalars with its strings made visible."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible_strings(key): visible_strings(item) for key, item in value.items()}
    if isinstance(value, list):
        # A figure has thousands of numbers and few texts.
        nested = any(isinstance(item, str | dict | list) for item in value)
        return [visible_strings(item) for item in value] if nested else value
    return value


def visible_json(text: str) -> str:
    """Return a JSON document with such characters escaped: whoever parses it reads the same."""
    return _UNSEEN.sub(lambda match: json.dumps(match[0])[1:-1], text)


def write(text: str, stream: TextIO | None = None, *, end: str = "\n") -> None:
    """Write text to a stream, stdout unless another is given."""
    print(visible(text), end=end, file=stream or sys.stdout)


def write_json(text: str) -> None:
    """Write a JSON document to stdout."""
    print(visible_json(text), file=sys.stdout)
