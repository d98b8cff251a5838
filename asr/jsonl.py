"""One line of a file of JSON lines -> the object in it."""

import json
from typing import Any


class JsonlError(ValueError):
    """A line that is no JSON object; the message says what is wrong with it, not where it stands."""


def parsed(line: str) -> dict[str, Any]:
    """Return the object. Raises JsonlError, whatever the line holds."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise JsonlError(f"not JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets a thousand deep
        raise JsonlError(f"not JSON: {error}") from error
    if not isinstance(row, dict):
        raise JsonlError("not a JSON object {…}")
    return row
