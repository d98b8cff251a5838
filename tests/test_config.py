"""Recipes from TOML and the command line, and back to plain values."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr import config
from asr.config import ConfigError
from asr.features import FeatureSettings
from asr.features.augment import AugmentSettings
from asr.model import CELLS, ModelSettings
from asr.text import TextSettings
from asr.training.recipe import Recipe, TrainingSettings


@dataclass(frozen=True)
class Inner:
    """A section within a section."""

    depth: int = 1


@dataclass(frozen=True)
class Outer:
    """A section with a value of every kind."""

    flag: bool = False
    count: int = 3
    ratio: float = 0.5
    word: str = "a"
    numbers: tuple[float, ...] = (1.0,)
    words: tuple[str, ...] = ()
    either: float | str = 1.0
    inner: Inner = Inner()

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"count = {self.count} is not 0 or more")


@dataclass(frozen=True)
class All:
    """The whole file."""

    name: str = ""
    outer: Outer = Outer()


def toml(folder: Path, content: str | bytes) -> Path:
    path = folder / "r.toml"
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def refused(folder: Path, content: str | bytes, *overrides: str, cls: type[Any] = All) -> str:
    """Return what is said of settings that cannot be used, without the file it begins with."""
    path = toml(folder, content)
    with pytest.raises(ConfigError) as caught:
        config.read(path, cls, overrides)
    where = f"{path} with --set {' '.join(overrides)}: " if overrides else f"{path}: "
    assert str(caught.value).startswith(where)
    return str(caught.value).removeprefix(where)


def test_empty_file_gives_defaults(tmp_path: Path) -> None:
    assert config.read(toml(tmp_path, ""), All) == All()
    assert config.read(str(toml(tmp_path, "# nothing\n[outer]\n")), All) == All()


def test_read_accepts_every_type(tmp_path: Path) -> None:
    read = config.read(
        toml(
            tmp_path,
            'name = "é"\n[outer]\nflag = true\ncount = -0\nratio = 2\nword = "b"\nnumbers = [1, 2.5]\nwords = ["x"]\n'
            'either = "auto"\n'
            "[outer.inner]\ndepth = 7\n",
        ),
        All,
    )
    assert read == All("é", Outer(True, 0, 2.0, "b", (1.0, 2.5), ("x",), "auto", Inner(7)))
    assert isinstance(read.outer.ratio, float)
    assert all(isinstance(number, float) for number in read.outer.numbers)


@pytest.mark.parametrize("content", [b'\xef\xbb\xbfname = "a"\n', b'name = "a"\r\n[outer]\r\ncount = 3\r\n'])
def test_read_accepts_line_ends_and_marks_of_editors(content: bytes, tmp_path: Path) -> None:
    assert config.read(toml(tmp_path, content), All) == All("a")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("nam = 1", "unknown key 'nam'; did you mean 'name'?"),
        ("xyz = 1", "unknown key 'xyz'; known are name, outer"),
        ("[outr]", "unknown key 'outr'; did you mean 'outer'?"),
        ("[outer]\ncuont = 1", "unknown key 'outer.cuont'; did you mean 'count'?"),
        ("[outer.inner]\nxyz = 1", "unknown key 'outer.inner.xyz'; known are depth"),
        ("[outer]\nflag = 1", "outer.flag must be true or false, not 1"),
        ("[outer]\ncount = true", "outer.count must be a whole number, not True"),
        ("[outer]\ncount = 1.0", "outer.count must be a whole number, not 1.0"),
        ('[outer]\ncount = "1"', "outer.count must be a whole number, not '1'"),
        ("[outer]\nratio = false", "outer.ratio must be a number, not False"),
        ('[outer]\nratio = "1"', "outer.ratio must be a number, not '1'"),
        (f"[outer]\nratio = 1{'0' * 400}", "outer.ratio is too large a number"),
        ("[outer]\nword = 1", "outer.word must be a string, not 1"),
        ("[outer]\nword = 2024-01-01", "outer.word must be a string, not datetime.date(2024, 1, 1)"),
        ('[outer]\nnumbers = [1, "b"]', "outer.numbers must be a number, not 'b'"),
        ("[outer]\nnumbers = 1", "outer.numbers must be a list of numbers, not 1"),
        ('[outer]\nwords = "ab"', "outer.words must be a list of strings, not 'ab'"),
        ("[outer]\nwords = [[]]", "outer.words must be a string, not []"),
        ("[outer]\neither = true", "outer.either must be a number or a string, not True"),
        ("[outer]\neither = [1]", "outer.either must be a number or a string, not [1]"),
        (f"[outer]\neither = 1{'0' * 400}", "outer.either must be a number or a string, not 1000"),
        ("outer = 3", "outer is a section, [outer], not a value"),
        ("[outer]\ninner = [1]", "outer.inner is a section, [outer.inner], not a value"),
        ("[[outer]]", "outer is a section, [outer], not a value"),
        ("[name]", "name must be a string, not {}"),
        ("[outer.count]\nx = 1", "outer.count must be a whole number, not {'x': 1}"),
        ("[outer]\ncount = -1", "[outer] count = -1 is not 0 or more"),
        ("name = ", "not TOML: Invalid value"),
        ("name: a", "not TOML: Expected '=' after a key"),
        ('name = "a"\nname = "b"', "not TOML: Cannot overwrite a value"),
        (f"[outer]\ncount = {'1' * 5000}", "not TOML: Exceeds the limit"),
    ],
)
def test_bad_value_is_named(content: str | bytes, said: str, tmp_path: Path) -> None:
    assert refused(tmp_path, content).startswith(said)


def test_read_names_the_byte_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(ConfigError, match=r"a\.toml, line 1: not UTF-8 \(byte 9 is 0xE9\)"):
        config.read(tmp_path / "a.toml", All)


def test_read_without_file_raises_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        config.read(tmp_path / "no.toml", All)


# Overrides


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("name=word", All("word")),
        ("name=two words", All("two words")),
        ("name= padded ", All(" padded ")),
        ("name = word", All("word")),
        ("name =  ABC", All(" ABC")),
        ("name= ", All(" ")),
        ('name="quoted = 3"', All("quoted = 3")),
        ("name=a=b", All("a=b")),
        ("name=", All("")),
        ("name='7'", All("7")),
        ("outer.flag=true", All(outer=Outer(flag=True))),
        ("outer.count=12", All(outer=Outer(count=12))),
        ("outer.count=1_000", All(outer=Outer(count=1000))),
        (" outer . count = 12 ", All(outer=Outer(count=12))),
        ("outer.ratio=-2.5", All(outer=Outer(ratio=-2.5))),
        ("outer.ratio=-3", All(outer=Outer(ratio=-3.0))),
        ("outer.ratio=1e-3", All(outer=Outer(ratio=0.001))),
        ("outer.numbers=[0.9, 1, -1.1]", All(outer=Outer(numbers=(0.9, 1.0, -1.1)))),
        ("outer.numbers=[]", All(outer=Outer(numbers=()))),
        ('outer.words=["a", "b c"]', All(outer=Outer(words=("a", "b c")))),
        ("outer.either=2", All(outer=Outer(either=2.0))),
        ("outer.either=auto", All(outer=Outer(either="auto"))),
        ('outer.either="2"', All(outer=Outer(either="2"))),
        ("outer.inner.depth=9", All(outer=Outer(inner=Inner(9)))),
        ("outer.inner={depth = 9}", All(outer=Outer(inner=Inner(9)))),
    ],
)
def test_override_is_toml_or_a_string(assignment: str, expected: All, tmp_path: Path) -> None:
    assert config.read(toml(tmp_path, ""), All, [assignment]) == expected


def test_last_override_wins(tmp_path: Path) -> None:
    path = toml(tmp_path, 'name = "file"\n[outer]\ncount = 1\nratio = 0.1\n')
    read = config.read(path, All, ["outer.count=2", "name=set", "outer.count=4"])
    assert read == All("set", Outer(count=4, ratio=0.1))


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("outer.cuont=1", "unknown key 'outer.cuont'; did you mean 'count'?"),
        ("outer.inner.deep.deeper=1", "unknown key 'outer.inner.deep'; did you mean 'depth'?"),
        ("xyz.a.b=1", "unknown key 'xyz'; known are name, outer"),
        ("outer.count=many", "outer.count must be a whole number, not 'many'"),
        ("outer.count=", "outer.count must be a whole number, not ''"),
        ("outer.flag=yes", "outer.flag must be true or false, not 'yes'"),
        ("outer.flag=True", "outer.flag must be true or false, not 'True'"),
        ("outer.numbers=[1, two]", "outer.numbers must be a list of numbers, not '[1, two]'"),
        ("outer=3", "outer is a section, [outer], not a value"),
        ("outer.count=-1", "[outer] count = -1 is not 0 or more"),
        (f"outer.count={'1' * 5000}", "outer.count must be a whole number, not '111"),
    ],
)
def test_bad_override_is_named(assignment: str, said: str, tmp_path: Path) -> None:
    assert refused(tmp_path, "", assignment).startswith(said)


@pytest.mark.parametrize("assignment", ["outer.count", "", "=", "=3", ".=3", "outer.=3", ".count=3", "outer..count=3"])
def test_override_without_assignment_is_refused(assignment: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.read(toml(tmp_path, ""), All, [assignment])
    assert str(caught.value) == f"--set {assignment}: not of the form section.key=value"


def test_override_within_a_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.read(toml(tmp_path, 'name = "a"'), All, ["name.first=b"])
    assert str(caught.value) == "--set name.first=b: name is a value, not a section"


# Recipes


def floats(settings_of: Any, section: str = "") -> Iterator[str]:
    """Yield the names of all settings that are numbers with a fraction, or lists of them."""
    for field in dataclasses.fields(settings_of):
        value = getattr(settings_of, field.name)
        name = f"{section}.{field.name}" if section else field.name
        if dataclasses.is_dataclass(value):
            yield from floats(value, name)
        elif isinstance(value, float) or (isinstance(value, tuple) and value and isinstance(value[0], float)):
            yield name


def test_recipe_floats_are_all_tested() -> None:
    assert {"features.hop", "augment.speeds", "model.dropout", "training.learning_rate"} <= set(floats(Recipe()))


@pytest.mark.parametrize("name", list(floats(Recipe())))
@pytest.mark.parametrize("value", ["nan", "-nan", "inf", "-inf", "1e400"])
def test_float_settings_refuse_non_finite_numbers(name: str, value: str, tmp_path: Path) -> None:
    section, key = name.split(".")
    written = f"[{value}]" if key == "speeds" else value
    said = refused(tmp_path, f"[{section}]\n{key} = {written}\n", cls=Recipe)
    assert said.startswith(f"[{section}] ")
    assert key in said


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("key", ["features.sample_rate", "training.epochs", "model.hidden", "training.seed"])
def test_integer_settings_refuse_non_finite_numbers(key: str, value: str, tmp_path: Path) -> None:
    assert refused(tmp_path, "", f"{key}={value}", cls=Recipe) == f"{key} must be a whole number, not {value}"


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("training.epochs=0", "[training] epochs = 0 is not between 1 and 100000"),
        ("training.seed=-1", "[training] seed = -1 is not between 0 and 2147483647"),
        ("training.batch_seconds=0", "[training] batch_seconds = 0.0 is not more than 0"),
        ("training.batch_seconds=all", "[training] batch_seconds = 'all' is neither a number nor \"auto\""),
        ("training.batch_seconds=true", "training.batch_seconds must be a number or a string, not True"),
        ("training.intermediate_weight=1", "[training] intermediate_weight = 1.0 is not between 0 and 0.9"),
        ("training.clean_epochs=31", "[training] clean_epochs = 31 is not between 0 and 30"),
        ("training.average_of=worst", "[training] average_of = 'worst' is not one of best, last"),
        ("training.precision=float64", "[training] precision = 'float64' is not one of float32, bfloat16, float16"),
        ("augment.time_mask=2", "unknown key 'augment.time_mask'; did you mean 'time_masks'?"),
        ("training.learning_rate=-1e-3", "[training] learning_rate = -0.001 is not more than 0"),
        ("training.clip=0", "[training] clip = 0.0 is not more than 0"),
        ("training.weight_decay=-1", "[training] weight_decay = -1.0 is not 0 or more"),
        ("training.warmup_epochs=-1", "[training] warmup_epochs = -1.0 is not 0 or more"),
        ("training.patience=-1", "[training] patience = -1 is not 0 or more"),
        ("training.hold=1.1", "[training] hold = 1.1 is not between 0 and 1"),
        ("training.device=tpu", "[training] device = 'tpu' is not one of auto, cpu, cuda, mps"),
        ("model.cell=transformer", "[model] cell = 'transformer' is not one of rnn-tanh, rnn-relu, gru, lstm"),
        ("text.alphabet=AA", "[text] alphabet: 'A' is twice in the alphabet"),
        ("features.deltas=3", "[features] deltas = 3 is not one of 0, 1, 2"),
        ("augment.speeds=[]", "[augment] speeds = [] leaves no training data; [1.0] is the unchanged speech"),
    ],
)
def test_recipe_out_of_range_is_refused(assignment: str, said: str, tmp_path: Path) -> None:
    assert refused(tmp_path, "", assignment, cls=Recipe) == said


speeds = st.lists(st.floats(0.5, 2), min_size=1, max_size=4, unique=True).map(tuple)
recipes = st.builds(
    Recipe,
    name=st.text(),
    features=st.builds(
        FeatureSettings,
        coefficients=st.integers(1, 80),
        window=st.floats(0.02, 0.2),
        hop=st.floats(0.001, 0.02),
        deltas=st.integers(0, 2),
        normalisation=st.sampled_from(["utterance", "none"]),
    ),
    text=st.builds(
        TextSettings,
        normaliser=st.sampled_from(["upper", "none"]),
        alphabet=st.text(min_size=1).map(lambda text: "".join(dict.fromkeys(text))),
        unknown=st.sampled_from(["error", "drop"]),
    ),
    augment=st.builds(AugmentSettings, speeds=speeds, time_masks=st.floats(0, 100)),
    model=st.builds(
        ModelSettings,
        cell=st.sampled_from(CELLS),
        bidirectional=st.booleans(),
        dropout=st.just(0.0) | st.floats(0.002, 0.9),
    ),
    training=st.builds(
        TrainingSettings,
        epochs=st.integers(1, 100_000),
        seed=st.integers(0, 2**31 - 1),
        batch_seconds=st.floats(0.1, 1e6) | st.just("auto"),
        learning_rate=st.floats(1e-9, 1e9),
        hold=st.floats(0, 1),
    ),
)


@given(recipes)
@settings(deadline=None)
def test_recipe_round_trip_through_json(recipe: Recipe) -> None:
    values = config.to_dict(recipe)
    assert config.from_dict(Recipe, values) == recipe
    assert config.from_dict(Recipe, json.loads(json.dumps(values))) == recipe


def test_to_dict_returns_plain_values() -> None:
    values = config.to_dict(All())
    assert values == {
        "name": "",
        "outer": {
            "flag": False,
            "count": 3,
            "ratio": 0.5,
            "word": "a",
            "numbers": [1.0],
            "words": [],
            "either": 1.0,
            "inner": {"depth": 1},
        },
    }
    assert isinstance(values["outer"]["numbers"], list)


@given(recipes)
@settings(deadline=None)
def test_recipe_round_trip_through_dict(recipe: Recipe) -> None:
    assert config.from_dict(Recipe, config.to_dict(recipe)) == recipe


# What differs


def test_differences_name_the_key_and_both_values() -> None:
    before = config.to_dict(All("a", Outer(count=1, numbers=(1.0,), either="auto")))
    after = config.to_dict(All("b", Outer(count=1, numbers=(1.0, 2.0), either=3.0, inner=Inner(2))))
    assert config.differences(before, after) == [
        "name: 'a' -> 'b'",
        "outer.either: 'auto' -> 3.0",
        "outer.inner.depth: 1 -> 2",
        "outer.numbers: [1.0] -> [1.0, 2.0]",
    ]
    assert config.differences(before["outer"], after["outer"], "x")[0] == "x.either: 'auto' -> 3.0"


def test_differences_include_missing_keys() -> None:
    assert config.differences({"old": 1, "both": 2}, {"new": {"a": 3}, "both": 2}) == [
        "new: None -> {'a': 3}",
        "old: 1 -> None",
    ]
    assert config.differences({"a": {"b": 1}}, {"a": 2}) == ["a: {'b': 1} -> 2"]


@given(recipes, recipes)
@settings(deadline=None, max_examples=30)
def test_differences_are_empty_for_equal_recipes(one: Recipe, other: Recipe) -> None:
    found = config.differences(config.to_dict(one), config.to_dict(other))
    assert (found == []) == (one == other)
    assert config.differences(config.to_dict(one), config.to_dict(one)) == []
    assert len(config.differences(config.to_dict(other), config.to_dict(one))) == len(found)
