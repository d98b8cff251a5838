"""train, dev and test: no shared speakers or texts, sizes in hours, the same for the same seed."""

from itertools import combinations
from pathlib import Path

import pytest

from asr.cli import main
from asr.corpora import manifest
from asr.corpora.manifest import CorpusError, Utterance
from asr.corpora.splitting import SplitSettings, split

# 20 speakers with 30 minutes each; a sentence of every speaker is the same.
ROWS = [
    Utterance(f"{speaker}-{number}", f"/{speaker}-{number}.wav", 180.0, text, f"s{speaker:02d}")
    for speaker in range(20)
    for number in range(10)
    for text in ["Good  morning" if number == 0 else f"text {speaker} {number}"]
]
SETTINGS = SplitSettings(dev_hours=1, test_hours=2)


def hours(rows: list[Utterance]) -> float:
    return sum(row.duration for row in rows) / 3600


def test_sets_share_no_speakers_and_no_texts_and_have_their_sizes() -> None:
    result = split(ROWS, SETTINGS)
    assert list(result.sets) == ["train", "dev", "test"]
    for first, second in combinations(result.sets.values(), 2):
        assert not {row.speaker for row in first} & {row.speaker for row in second}
        assert not {row.text.lower() for row in first} & {row.text.lower() for row in second}
    assert hours(result.sets["test"]) == 2
    # The sentence that all speakers read is in test only.
    assert hours(result.sets["dev"]) == pytest.approx(0.9)
    assert hours(result.sets["train"]) == pytest.approx(14 * 0.45)
    assert sorted(row.id for row in result.left_out) == sorted(
        row.id for row in ROWS if row.text == "Good  morning" and row not in result.sets["test"]
    )
    shared = split(ROWS, SplitSettings(1, 2, share_texts=True))
    assert [hours(rows) for rows in shared.sets.values()] == [7, 1, 2]
    assert shared.left_out == []


def test_the_seed_decides_and_the_order_does_not() -> None:
    assert split(ROWS, SETTINGS) == split(ROWS[::-1], SETTINGS)
    others = [split(ROWS, SplitSettings(1, 2, seed=seed)).sets["test"] for seed in (2, 3)]
    assert others[0] != others[1]


def test_sets_of_utterances_and_sets_that_are_not_wanted() -> None:
    rows = [Utterance(f"u{number}", f"/{number}.wav", 36.0, f"t{number}") for number in range(100)]
    result = split(rows, SplitSettings(0.1, 0, by="utterance"))
    assert {name: len(rows) for name, rows in result.sets.items()} == {"train": 90, "dev": 10}


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        ([Utterance("u", "/u.wav", 1.0)], SETTINGS, "utterance u has no speaker; add it, or split --by utterance"),
        (ROWS[:10], SETTINGS, "no utterances for (dev|train): too few speakers"),
        (
            ROWS[::10],
            SplitSettings(0.2, 0.2),
            "no utterances for dev: their texts are all in other sets; allow this with --share-texts",
        ),
    ],
)
def test_a_split_that_is_not_possible(rows: list[Utterance], settings: SplitSettings, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        split(rows, settings)


def test_the_command_writes_the_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest.write(tmp_path / "all.jsonl", ROWS)
    command = ["prepare", "split", str(tmp_path / "all.jsonl"), "--dev-hours", "1", "--test-hours", "2"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    expected = split(manifest.read(tmp_path / "all.jsonl"), SETTINGS)
    for name, rows in expected.sets.items():
        assert manifest.read(tmp_path / "out" / f"{name}.jsonl") == rows
    assert "16 utterances, 0.80 hours, left out: their texts are in another set" in capsys.readouterr().err
