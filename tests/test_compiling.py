"""Where compiled functions are cached, and that they work where nothing can be written."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import librosa
import pytest

import asr
from asr.caching import cache_folder
from asr.compiling import Compiler

CODE = """
import numpy as np
from asr.decoding import beam
from asr.lm.ngram.estimate import EstimateSettings, estimate
from asr.text import Alphabet
model = estimate([["A", "B"]], EstimateSettings(2))
from asr.features.reference import mfcc
from asr.features.settings import FeatureSettings
assert len(mfcc(np.ones(1600, np.float32), FeatureSettings()))
print(model.perplexity(["A B"]).words, beam.beam_search(np.zeros((1, 2)), Alphabet("A"), beam.EXACT)[0].score)
"""


def test_cache_folders_of_other_versions_stay_until_unused_for_a_month(tmp_path: Path) -> None:
    first, second = (cache_folder(name, [tmp_path]) for name in ("kind-1", "kind-2"))
    assert first and second and first.is_dir() and second.is_dir()
    month_ago = time.time() - 31 * 86_400
    os.utime(first, (month_ago, month_ago))
    other = tmp_path / "other"
    other.mkdir()
    os.utime(other, (month_ago, month_ago))
    # Its use makes it recent.
    assert cache_folder("kind-1", [tmp_path]) == first
    os.utime(second, (month_ago, month_ago))
    assert cache_folder("kind-1", [tmp_path]) == first
    assert first.is_dir() and not second.exists() and other.is_dir()


def test_the_cache_folder_is_the_first_that_can_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    writable = tmp_path / "new" / "folder"
    found = cache_folder("name", [blocked, writable])
    assert found and found.parent == writable
    assert cache_folder("name", [blocked, blocked / "inner"]) is None


def test_functions_compile_in_memory_if_no_folder_can_be_written(tmp_path: Path) -> None:
    # Without the extension numba compiles the beam search.
    ignored = shutil.ignore_patterns("__pycache__", "*.bin", "native.*")
    shutil.copytree(Path(asr.__file__).parent, tmp_path / "asr", ignore=ignored)
    blocked = tmp_path / "file"
    blocked.touch()
    # A file in place of a folder blocks writing for root too.
    for folder in ("asr/lm/ngram", "asr/decoding/beam"):
        (tmp_path / folder / "__pycache__").touch()
    # librosa caches its functions beside its modules.
    shutil.copytree(Path(librosa.__file__).parent, tmp_path / "librosa", ignore=shutil.ignore_patterns("__pycache__"))
    for path in [path for path in tmp_path.glob("librosa/**/") if path.is_dir()]:
        (path / "__pycache__").touch()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    paths = {"HOME": str(blocked), "XDG_CACHE_HOME": str(blocked), "TMPDIR": str(temporary)}
    environment = os.environ | paths | {"PYTHONPATH": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["2", "0.0"]), done.stderr
    assert not list(temporary.iterdir())


def test_a_cache_folder_that_the_user_names_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.mkdir()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    for _ in range(2):
        assert Compiler(source).folder
    (found,) = (tmp_path / "cache").iterdir()
    assert found.name.startswith("compiled-") and not list(source.iterdir())
