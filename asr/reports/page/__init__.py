"""The JSON document of a report -> one self-contained HTML page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asr.files import write_text
from asr.reports.page import comparison, evaluation

_SILENT: Mapping[str, str] = {}


def write(path: str | Path, document: dict[str, Any], sounds: Mapping[str, str] = _SILENT) -> None:
    """Write the page of an evaluation, whole or not at all; `sounds`: ids to data URIs. Raises OSError."""
    write_text(Path(path), evaluation.render(document, sounds))


def write_comparison(path: str | Path, document: dict[str, Any]) -> None:
    """Write the page of a comparison, whole or not at all. Raises OSError."""
    write_text(Path(path), comparison.render(document))
