"""Which packages may import which, and other rules that hold for every module."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "asr"

# A package imports only from rows above its own. docs/architecture.md explains the order.
ROWS = (
    {"errors", "version"},
    {"files", "caching", "compute", "parallel"},
    {"compiling"},
    {"config"},
    {"audio", "text", "scoring"},
    {"corpora", "transcripts"},
    {"features", "reports"},
    {"model"},
    {"lm"},
    {"decoding", "export"},
    {"training", "recognition"},
    {"server", "cluster"},
    {"cli"},
    {"__init__", "__main__"},
)
ROW = {name: number for number, names in enumerate(ROWS) for name in names}
# They import what a command or an attribute needs when it is used, so that `asr --help` starts quickly.
LAZY = {"__init__", "cli", "server", "cluster"}
# torch is imported only if the device is not a CPU, numba only if a function is compiled, and phonemizer only if a word
# is pronounced.
LAZY_MODULES = {PACKAGE / "recognition/recognizer.py", PACKAGE / "compiling.py", PACKAGE / "lm/espeak.py"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def package(path: Path) -> str:
    """Return the package of a module: its first folder below asr, or its own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def imports(path: Path) -> set[str]:
    """Return what a module imports from asr, as dotted names below asr, wherever the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("asr.") for alias in node.names if alias.name.startswith("asr.")}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            if node.module == "asr":
                found |= {alias.name for alias in node.names}
            elif (node.module or "").startswith("asr."):
                found |= {f"{(node.module or '').removeprefix('asr.')}.{alias.name}" for alias in node.names}
    return found


def test_every_package_has_a_row() -> None:
    assert {package(path) for path in MODULES} <= set(ROW)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_package_imports_only_from_rows_above(path: Path) -> None:
    own = package(path)
    for name in imports(path):
        other = name.partition(".")[0]
        assert other == own or other not in ROW or ROW[other] < ROW[own], f"{own} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_private_names_stay_in_their_package(path: Path) -> None:
    for name in imports(path):
        inner = name.split(".")[1:]
        assert name.partition(".")[0] == package(path) or not any(map(private, inner)), name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_stand_at_the_top(path: Path) -> None:
    if package(path) in LAZY or path in LAZY_MODULES:
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert not [inner for inner in ast.walk(node) if isinstance(inner, ast.Import | ast.ImportFrom)], node.name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_prints_or_exits(path: Path) -> None:
    if package(path) in ("cli", "__main__"):
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in ("print", "exit", "quit", "sys.exit", "os._exit", "eval", "exec")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_unpickles(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert "import pickle" not in source
    assert "torch.load(" not in source or "weights_only=True" in source


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_has_a_docstring_and_a_telling_name(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert path.stem not in {"utils", "util", "helpers", "common", "misc"}


def test_recipes_hold_no_python_but_a_training_and_generated_data() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / "recipes").rglob("*.py")}
    names = ("vad/train", "english-small/spelled", "english-small/noise", "strokes/generate")
    assert found == {f"recipes/{name}.py" for name in names}
