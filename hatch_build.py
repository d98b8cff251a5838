"""Compiles the beam search when asr is installed. Without a C++ compiler asr works too, but starts slowly."""

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
FOLDER = Path("asr/decoding/beam")
# Without contraction each product and sum is rounded, as in the reference in Python.
FLAGS = ["/std:c++17", "/O2"] if sys.platform == "win32" else ["-std=c++17", "-O3", "-g0", "-ffp-contract=off"]


class Hook(BuildHookInterface[Any]):
    """Writes the extension beside its source, where an editable install finds it and from where a wheel takes it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and add what was compiled to a wheel."""
        if self.target_name != "wheel":
            return
        for old in self._compiled():
            old.unlink()
        source = str(ROOT / FOLDER / "native.cpp")
        extension = Extension(
            "asr.decoding.beam.native", [source], extra_compile_args=FLAGS, py_limited_api=True, optional=True
        )
        with tempfile.TemporaryDirectory() as temporary:
            command = build_ext(Distribution({"ext_modules": [extension]}))
            command.build_lib, command.build_temp = str(ROOT), temporary
            command.ensure_finalized()
            command.run()
        for compiled in self._compiled():
            build_data.update(pure_python=False, infer_tag=True)
            if version != "editable":
                build_data["force_include"][str(compiled)] = str(FOLDER / compiled.name)

    @staticmethod
    def _compiled() -> list[Path]:
        return [path for path in (ROOT / FOLDER).glob("native.*") if path.suffix in (".so", ".pyd")]
