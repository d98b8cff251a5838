"""TOML -> nested frozen dataclasses, and back to plain dicts.

A settings class is a frozen dataclass whose fields all have defaults and are bool, int, float, str, a union or a tuple
of one of them, or another settings class. Its `__post_init__` checks ranges and raises ValueError beginning with the
key's name. A renamed field keeps its old key as `field(metadata={"old_name": ...})`; files may use either.
"""

import contextlib
import dataclasses
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from asr.errors import AsrError
from asr.files import EncodingError, read_utf8

Settings = TypeVar("Settings")


class ConfigError(AsrError):
    """A setting that cannot be used; the message names the file, the section and the key."""


def _kind(hint: Any) -> str:
    if isinstance(hint, types.UnionType):
        return " or ".join(map(_kind, typing.get_args(hint)))
    if typing.get_origin(hint) is tuple:
        return f"a list of {_kind(typing.get_args(hint)[0])}s".replace("list of a ", "list of ")
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}[hint]


def _convert(value: Any, hint: Any, name: str) -> Any:
    if isinstance(hint, types.UnionType):
        for member in typing.get_args(hint):
            with contextlib.suppress(ConfigError):
                return _convert(value, member, name)
    elif typing.get_origin(hint) is tuple:
        if isinstance(value, list | tuple):
            return tuple(_convert(item, typing.get_args(hint)[0], name) for item in value)
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"{name} is too large a number") from None
    elif type(value) is hint:
        return value
    raise ConfigError(f"{name} must be {_kind(hint)}, not {value!r}")


def from_dict(cls: type[Settings], values: Mapping[str, Any], section: str = "") -> Settings:
    """Build settings from nested plain values. Raises ConfigError for unknown keys, wrong types and bad values."""
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(typing.cast(Any, cls))
    renamed = {field.metadata["old_name"]: field.name for field in fields if "old_name" in field.metadata}
    converted: dict[str, Any] = {}
    for given, value in values.items():
        key = renamed.get(given, given)
        if key != given and key in values:
            raise ConfigError(f"{given!r} is the old name of {key!r}; give only one of them")
        name = f"{section}.{key}" if section else key
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(hints)}"
            raise ConfigError(f"unknown key {name!r}; {hint}")
        if dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{name} is a section, [{name}], not a value")
            converted[key] = from_dict(typing.cast(type[Any], hints[key]), value, name)
        else:
            converted[key] = _convert(value, hints[key], name)
    try:
        return cls(**converted)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"[{section}] {error}" if section else str(error)) from error


def check_ranges(settings: Any, **ranges: tuple[float, float]) -> None:
    """Raise ValueError for the first field that is not finite, below its lowest or above its highest value."""
    for name, (lowest, highest) in ranges.items():
        value = getattr(settings, name)
        if not lowest <= value <= highest or value == math.inf:
            wanted = f"{lowest} or more" if highest == math.inf else f"between {lowest} and {highest}"
            raise ValueError(f"{name} = {value} is not {wanted}")


def check_choices(settings: Any, **choices: Sequence[Any]) -> None:
    """Raise ValueError for the first field whose value is not one of its choices."""
    for name, known in choices.items():
        value = getattr(settings, name)
        if value not in known:
            raise ValueError(f"{name} = {value!r} is not one of {', '.join(map(str, known))}")


def to_dict(settings: Any) -> dict[str, Any]:
    """Return the settings as nested plain values, tuples as lists, ready for JSON."""
    return {
        key: to_dict(value) if dataclasses.is_dataclass(value) else list(value) if isinstance(value, tuple) else value
        for key, value in ((field.name, getattr(settings, field.name)) for field in dataclasses.fields(settings))
    }


def differences(before: Mapping[str, Any], after: Mapping[str, Any], section: str = "") -> list[str]:
    """Return `section.key: old -> new` for every value that differs between two results of `to_dict`."""
    changes: list[str] = []
    for key in sorted(before.keys() | after.keys()):
        name = f"{section}.{key}" if section else key
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            changes += differences(old, new, name)
        elif old != new:
            changes.append(f"{name}: {old!r} -> {new!r}")
    return changes


def _override(values: dict[str, Any], assignment: str) -> None:
    path, equals, text = assignment.partition("=")
    if path != path.rstrip():  # written "key = value", not "key=value"
        text = text.removeprefix(" ")
    *sections, key = (part.strip() for part in path.split("."))
    if not equals or not key or not all(sections):
        raise ConfigError(f"--set {assignment}: not of the form section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        value = text
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {assignment}: {section} is a value, not a section")
        values = inner
    values[key] = value


def read(path: str | Path, cls: type[Settings], overrides: Sequence[str] = ()) -> Settings:
    """Read a TOML file into settings; `overrides` are `section.key=value`, the value in TOML or a string as it is.

    Raises ConfigError naming file, section and key.
    """
    path = Path(path)
    try:
        values = tomllib.loads(read_utf8(path))
    except EncodingError as error:
        raise ConfigError(str(error)) from error
    except ValueError as error:  # TOMLDecodeError, or int's own for thousands of digits
        raise ConfigError(f"{path}: not TOML: {error}") from error
    for assignment in overrides:
        _override(values, assignment)
    try:
        return from_dict(cls, values)
    except ConfigError as error:
        where = f"{path} with --set {' '.join(overrides)}" if overrides else str(path)
        raise ConfigError(f"{where}: {error}") from error
