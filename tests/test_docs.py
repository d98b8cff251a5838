"""The documentation: its commands parse, its Python runs, its links, paths, settings and numbers are right."""

import itertools
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import soundfile

import asr
from asr import audio, config
from asr.cli import program
from asr.decoding.decoder import DecoderSettings
from asr.training.recipe import Recipe
from tests.conftest import SAMPLE_RATE, spell
from tests.test_architecture import ROWS

ROOT = Path(__file__).resolve().parent.parent
GUIDES = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *GUIDES]
RESULTS = sorted((ROOT / "recipes").glob("*/RESULTS.md"))
CARD = ROOT / "asr/recognition/bundled/english-small.md"
LINKED = [*PAGES, CARD, ROOT / "data/README.md", ROOT / "CHANGELOG.md", *RESULTS]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
SEPARATORS = {"|", "||", "&&", ";", "&", "(", ")"}
REDIRECTIONS = {">", ">>", "<"}
# Options of the asr program itself, and of torchrun, Ray and mypy.
OTHER_OPTIONS = {
    "--help",
    "--version",
    "--max-restarts",
    "--standalone",
    "--nproc-per-node",
    "--strict",
    "--disable-usage-stats",
    "--num-cpus",
}


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path, language: str) -> list[str]:
    return [body for name, body in FENCE.findall(read(path)) if name == language]


def prose(path: Path) -> str:
    """Return a page without its fenced blocks."""
    return FENCE.sub("", read(path))


def commands(script: str) -> Iterator[list[str]]:
    """Yield the simple commands of a shell script as words, without redirections and variable assignments."""
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        tokens = iter(lexer)
        for token in tokens:
            if token in SEPARATORS:
                yield words
                words = []
            elif token in REDIRECTIONS:
                next(tokens)
            elif words or not re.fullmatch(r"\w+=.*", token):
                words.append(token)
        if words:
            yield words


def asr_arguments(words: list[str]) -> list[str] | None:
    """Return the arguments of `asr` in a command that runs it, by its name or as a module, else None."""
    if words and Path(words[0]).name == "asr":
        return words[1:]
    for index, pair in enumerate(itertools.pairwise(words)):
        if pair == ("-m", "asr"):
            return words[index + 2 :]
    return None


SHELL = [(page, words) for page in PAGES for script in blocks(page, "sh") for words in commands(script) if words]
ASR_COMMANDS = [(page, found) for page, words in SHELL if (found := asr_arguments(words)) is not None]


def check_values(command: click.Command, parent: click.Context, arguments: list[str]) -> None:
    """Parse arguments as the command does, with paths that need not exist. Raises click.UsageError."""
    context = click.Context(command, parent=parent, info_name=command.name)
    values, rest, _ = command.make_parser(context).parse_args(list(arguments))
    assert not rest, rest
    for parameter in command.params:
        name = str(parameter.name)
        if parameter.required:
            assert not parameter.value_is_missing(values.get(name)), f"{name} is missing"
        if isinstance(parameter.type, click.Choice | click.types.IntParamType | click.types.FloatParamType):
            given = values.get(name)
            if given not in (None, ()) and not isinstance(given, bool):
                parameter.type_cast_value(context, given)


@pytest.mark.parametrize(
    ("page", "arguments"), ASR_COMMANDS, ids=[f"{page.stem}:{' '.join(words)[:60]}" for page, words in ASR_COMMANDS]
)
def test_documented_command_exists_with_its_options(page: Path, arguments: list[str]) -> None:
    command: click.Command = program
    context = click.Context(program, info_name="asr")
    rest = list(arguments)
    while isinstance(command, click.Group) and rest and command.get_command(context, rest[0]):
        inner = command.get_command(context, rest.pop(0))
        assert inner
        context, command = click.Context(inner, parent=context, info_name=inner.name), inner
    if isinstance(command, click.Group):
        # Without a subcommand: `asr models` and `asr models NAME`.
        assert not any(word.startswith("-") for word in rest)
        assert command.invoke_without_command, f"asr {' '.join(arguments)} has no such subcommand"
        return
    assert context.parent
    check_values(command, context.parent, rest)


def options(command: click.Command) -> set[str]:
    """Return the long options of a command and of its subcommands."""
    own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return {name for name in own if name.startswith("--")}.union(*map(options, subcommands(command)))


def subcommands(command: click.Command) -> list[click.Command]:
    """Return the commands of a group, which imports them when they are asked for; none of any other command."""
    if not isinstance(command, click.Group):
        return []
    context = click.Context(command)
    commands = (command.get_command(context, name) for name in command.list_commands(context))
    return [inner for inner in commands if inner]


@pytest.mark.parametrize("page", [*PAGES, *RESULTS, CARD], ids=lambda page: str(page.relative_to(ROOT)))
def test_options_in_the_text_exist(page: Path) -> None:
    named = {
        name for code in re.findall(r"`([^`]+)`", prose(page)) for name in re.findall(r"(?<![\w-])--[a-z][a-z-]*", code)
    }
    assert named - OTHER_OPTIONS <= options(program)


def test_every_command_is_in_the_readme() -> None:
    documented = set(re.findall(r"^\| `asr ([a-z]+)` \|", read(ROOT / "README.md"), re.M))
    assert documented == {command.name for command in subcommands(program)}


@pytest.mark.parametrize(
    "arguments", [words for _, words in ASR_COMMANDS if words[:1] == ["train"] and "--set" in words], ids=" ".join
)
def test_documented_recipe_settings_are_accepted(arguments: list[str]) -> None:
    settings = [value for name, value in itertools.pairwise(arguments) if name == "--set"]
    config.read(ROOT / arguments[1], Recipe, settings)


def test_make_targets_and_scripts_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", read(ROOT / "Makefile"), re.M))
    for page, words in SHELL:
        if words[0] == "make":
            assert words[1] in targets, f"{page.name}: {' '.join(words)}"
        if words[0].startswith("recipes/"):
            assert (ROOT / words[0]).is_file(), f"{page.name}: {' '.join(words)}"
    for page in PAGES:
        for target in re.findall(r"`make ([\w-]+)`", prose(page)):
            assert target in targets, f"{page.name}: make {target}"


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_source_files_exist(page: Path) -> None:
    for name in re.findall(r"`((?:asr|tests|data|recipes|docs|\.ci)/[\w./-]*)`", prose(page)):
        assert (ROOT / name).exists(), name


def test_readme_is_short() -> None:
    assert len(read(ROOT / "README.md").splitlines()) <= 150


def test_every_guide_is_linked_from_the_readme() -> None:
    readme = read(ROOT / "README.md")
    for guide in GUIDES:
        assert f"(docs/{guide.name})" in readme


def test_intervals_in_the_readme_are_in_the_results() -> None:
    results = "".join(map(read, RESULTS)).replace("**", "")
    rates = re.findall(r"\d+\.\d\d \(\d+\.\d\d–\d+\.\d\d\)", read(ROOT / "README.md"))
    assert len(rates) >= 10
    for rate in rates:
        assert rate in results, rate


def test_transcripts_in_the_readme_are_the_saved_ones() -> None:
    saved = json.loads(read(ROOT / "tests/saved/english-small.json"))
    readme = read(ROOT / "README.md")
    for number in ("01", "02"):
        assert f"\n{saved[f'data/samples/sample-{number}.opus']['decoder']['text']}\n" in readme


def test_architecture_page_has_the_import_table() -> None:
    table = blocks(ROOT / "docs/architecture.md", "text")[0]
    assert [set(line.split()[1:]) for line in table.splitlines()] == [set(row) for row in ROWS]


def defaults(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Return the default of each setting by its dotted name, as TOML has it."""
    found: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            found |= defaults(value, f"{prefix}{field.name}.")
        else:
            found[f"{prefix}{field.name}"] = list(value) if isinstance(value, tuple) else value
    return found


@pytest.mark.parametrize(
    ("name", "settings"), [("training.md", Recipe()), ("decoding.md", DecoderSettings())], ids=["recipe", "decoder"]
)
def test_settings_tables_have_every_setting_and_its_default(name: str, settings: Any) -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| `([^|]+)` \|", read(ROOT / "docs" / name), re.M)
    documented = {key: tomllib.loads(f"value = {value}")["value"] for key, value in rows}
    assert documented == defaults(settings)


@pytest.fixture
def files(trained: Path, streaming: Path, tones: Path, tmp_path: Path) -> dict[str, Path]:
    """What stands for the names in the documentation's Python: the tiny model and its corpus."""
    (tmp_path / "decoder.toml").write_text("[search]\nbeam_width = 10\n")
    call = np.stack([spell("AB CA"), spell("AB CA")], axis=1)
    soundfile.write(tmp_path / "call.wav", call, SAMPLE_RATE)
    model, recording = trained / "best.safetensors", tones / "dev/dev-0.wav"
    return {
        "english-small": model,
        "best.safetensors": model,
        "runs/mini/best.safetensors": model,
        "streaming.safetensors": streaming,
        "speech.wav": recording,
        "talk.wav": recording,
        "call.wav": tmp_path / "call.wav",
        "broken.wav": tmp_path / "broken.wav",
        "decoder.toml": tmp_path / "decoder.toml",
        "recipes/an4/recipe.toml": tones / "tiny.toml",
        "manifests/train.jsonl": tones / "train.jsonl",
        "manifests/dev.jsonl": tones / "dev.jsonl",
        "runs/an4": tmp_path / "run",
    }


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.stem)
def test_python_runs(page: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    waveform = audio.resample(spell("AB CA"), SAMPLE_RATE, 48_000)
    names: dict[str, Any] = {"waveform": waveform, "chunks": np.array_split(waveform, 9)}
    for source in blocks(page, "python"):
        for name, path in files.items():
            source = source.replace(f'"{name}"', repr(str(path)))  # noqa: PLW2901
        exec(compile(source, str(page), "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert lines or page.stem == "training"
    if page.stem == "streaming":
        assert lines[9] == "AB CA" and lines[-1].startswith("final AB CA [('AB', "), lines
    if page.stem == "scoring":
        assert "Rate(value=" in lines[-1]
    if page.stem == "training":
        assert asr.load(files["runs/an4"] / "best.safetensors").transcribe_file(files["speech.wav"]).text
