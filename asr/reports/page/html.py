"""Elements of a page, built so that a text stays a text: only what an element made is taken for a tag."""

import json
from html import escape
from typing import Any

# Control characters and noncharacters, which HTML does not allow, and halves of surrogate pairs, which UTF-8 does not.
_UNSHOWABLE = dict.fromkeys(
    {*range(32), *range(127, 160), *range(0xD800, 0xE000), *range(0xFDD0, 0xFDF0), 0xFFFE, 0xFFFF} - {9, 10}, "\ufffd"
)
_VOID = ("meta", "input", "br")
# What could end the element around it, or a line in an old reader of JavaScript.
_IN_SCRIPT = {ord(one): f"\\u{ord(one):04x}" for one in "<>&\u2028\u2029\u007f"}


class Html(str):
    """A piece of a page, its texts escaped."""

    __slots__ = ()


def showable(value: str) -> str:
    """Return a text as a page can hold it, replacement characters in place of what it cannot."""
    return value.translate(_UNSHOWABLE)


def text(value: object) -> Html:
    """Return a value as text."""
    return value if isinstance(value, Html) else Html(escape(showable(str(value))))


def join(*parts: object) -> Html:
    """Return pieces and texts in a row."""
    return Html("".join(map(text, parts)))


def element(tag: str, *children: object, **attributes: object) -> Html:
    """Return an element; of an attribute's name the last underscore is dropped and others are hyphens.

    True is an attribute without value; None and False leave it out.
    """
    written = ""
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        # SVG has attributes in camel case, and none with a hyphen that is used here.
        written += f" {name.removesuffix('_').replace('_', '-')}"
        written += "" if value is True else f'="{text(value)}"'
    return Html(f"<{tag}{written}>" if tag in _VOID else f"<{tag}{written}>{join(*children)}</{tag}>")


def bidi(value: object) -> Html:
    """Return a text of any script that does not turn round what stands beside it."""
    return element("bdi", value)


def embedded(name: str, data: Any) -> Html:
    """Return data as JSON that a script finds by its name and nothing executes."""
    written = json.dumps(data, ensure_ascii=False, separators=(",", ":")).translate(_IN_SCRIPT)
    return Html(f'<script type="application/json" id="{text(name)}">{written}</script>')


def shortened(value: str, most: int = 60) -> str:
    """Return a text, or its beginning and an ellipsis."""
    return value if len(value) <= most else f"{value[: most - 1]}…"
