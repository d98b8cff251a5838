"""Who may import whom, and how large things may grow."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "asr"

# What each room may import of asr. A room that is not here has no place in the house yet.
ALLOWED = {
    "version": set(),
    "config": set(),
    "containers": set(),
    "audio": {"containers"},
    "files": set(),
    "jsonl": set(),
    "distributed": set(),
    "features": set(),
    "mfcc": {"features"},
    "frontend": {"features"},
    "passes": {"audio", "features", "frontend"},
    "vad": {"passes"},
    "windows": {"decoding", "model", "passes"},
    "cuts": {"decoding", "text", "vad", "windows"},
    "listening": {"decoding", "frontend", "model", "passes", "vad", "windows"},
    "text": set(),
    "manifest": {"files", "jsonl"},
    "model": set(),
    "parallel": set(),
    "device": set(),
    "events": set(),
    "watchdog": {"events"},
    "axes": set(),
    "curves": {"axes", "events"},
    "scoring": set(),
    "corpora": {"audio", "manifest", "text"},
    "augment": {"features"},
    "batching": {"features"},
    "cache": {"audio", "augment", "config", "features", "files", "manifest", "mfcc", "parallel"},
    "weights": {"config", "files"},
    "checkpoint": {"features", "model", "text", "weights"},
    "decoding": {"alignment", "text"},
    "beam": {"decoding", "ngram", "rnnlm", "text"},
    "confidence": {"decoding"},
    "decoder": {
        "beam",
        "confidence",
        "config",
        "decoding",
        "lm",
        "ngram",
        "parallel",
        "rnnlm",
        "text",
    },
    "tuning": {
        "beam",
        "confidence",
        "decoder",
        "decoding",
        "manifest",
        "ngram",
        "parallel",
        "recognition",
        "scoring",
        "text",
    },
    "surface": {"tuning"},
    "ngram": {"files"},
    "alignment": {"text"},
    "rnnlm": {"model", "text", "weights"},
    "sentences": {"manifest", "text"},
    "lm": {"ngram", "rnnlm", "sentences"},
    "segments": {"alignment"},
    "output": {"alignment", "decoding", "segments"},
    "inputs": {"audio"},
    "mirror": {"files", "inputs", "output"},
    "normalisers": {"text"},
    "transcripts": {"jsonl"},
    "report": {"files", "normalisers", "scoring", "transcripts"},
    "page": {"audio", "axes", "files"},
    "recipe": {"augment", "features", "model", "text"},
    "dataset": {"audio", "augment", "batching", "cache", "features", "manifest", "model", "text"},
    "doctor": {"audio", "dataset", "features", "manifest", "model", "parallel", "text"},
    "training": {
        "audio",
        "augment",
        "batching",
        "cache",
        "checkpoint",
        "config",
        "curves",
        "dataset",
        "decoding",
        "device",
        "distributed",
        "events",
        "files",
        "features",
        "manifest",
        "mfcc",
        "model",
        "parallel",
        "recipe",
        "scoring",
        "text",
        "version",
        "watchdog",
    },
    "stream": {"audio", "checkpoint", "decoding", "frontend", "model", "text"},
    "recognition": {
        "audio",
        "batching",
        "checkpoint",
        "decoding",
        "device",
        "frontend",
        "listening",
        "manifest",
        "model",
        "passes",
        "stream",
        "cuts",
        "text",
    },
    "pretrained": {"checkpoint", "decoder", "lm", "ngram", "recognition", "rnnlm"},
    "evaluation": {"decoding", "manifest", "recognition", "scoring", "text"},
    "recordings": {"alignment", "audio", "batching", "decoding", "passes", "recognition"},
    "splicing": {"aligning", "alignment", "audio", "files", "manifest", "recognition"},
    "aligning": {"alignment", "audio", "checkpoint", "decoding", "manifest", "output", "recognition", "text"},
}
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Return the rooms that a module imports, wherever in it the import stands."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            rooms |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("asr.")}
        elif isinstance(node, ast.ImportFrom) and node.module == "asr":
            rooms |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("asr."):
            rooms.add((node.module or "").split(".")[1])
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: a relative import"
    return rooms


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_what_it_may(path: Path) -> None:
    name = room(path)
    if name not in ("__init__", "__main__", "cli"):
        assert imported(path) - {name} <= ALLOWED[name]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_stand_at_the_top(path: Path) -> None:
    if room(path) in ("__init__", "cli"):
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert not [inner for inner in ast.walk(node) if isinstance(inner, ast.Import | ast.ImportFrom)], node.name


def test_training_and_recognition_meet_only_in_the_model_file() -> None:
    def reach(name: str) -> set[str]:
        found = set(ALLOWED[name])
        for other in ALLOWED[name]:
            found |= reach(other)
        return found

    assert "recognition" not in reach("training")
    assert "training" not in reach("recognition")
    for name in ALLOWED:
        assert name not in reach(name)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= 300
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 50, node.name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_prints_or_exits(path: Path) -> None:
    if room(path) in ("cli", "__main__"):
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in ("print", "exit", "quit", "sys.exit", "os._exit", "eval", "exec")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_unpickles(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert "import pickle" not in source
    assert "torch.load(" not in source or "weights_only=True" in source


def test_the_top_level_and_the_recipes_hold_what_they_should() -> None:
    assert not list((ROOT / "recipes").rglob("*.py"))
    assert not [path for path in PACKAGE.rglob("*.py") if path.stem in {"utils", "util", "helpers", "common", "misc"}]
    for module in MODULES:
        docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
        assert docstring, f"{module} says nothing of itself"
