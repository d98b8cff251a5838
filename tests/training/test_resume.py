"""Training states: saving, reading, restoring, and failed writes."""

import errno
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from asr import config
from asr.training import resume
from asr.training.events import Epoch, Sample
from asr.training.recipe import Recipe
from asr.training.resume import Progress
from asr.training.step import Engine, StepBatches, TrainingError
from tests.training.test_step import batch, engine

ROW = Epoch(
    epoch=1,
    epochs=9,
    train_loss=0.1 + 0.2,
    dev_loss=float("inf"),
    dev_wer=1.0,
    best=True,
    learning_rate=1e-3,
    gradient_norm=3.3,
    largest_norm=9.9,
    blank_share=0.5,
    infinite=0,
    mask_strength=1.0,
    seconds=1.5,
    data_wait=0.01,
    audio_hours=0.2,
    samples=(Sample("é", "A “B”", ""),),
)
PROGRESS = Progress(3, 17, 0.1, 5, 0.3, norms=[0.1 + 0.2, 1e-300], rows=[ROW], notes=["ü"], averaged=(0.1 + 0.2, 1.5))
IDENTITY = {"recipe": config.to_dict(Recipe()), "train": "abc"}


def trained(steps: int = 3) -> Engine:
    first = engine()
    for number in range(steps):
        first.step(StepBatches([batch(60, 48, seed=number)], 2), 0.01)
    return first


def test_restored_state_is_identical(tmp_path: Path) -> None:
    first = trained()
    resume.save(tmp_path, first, PROGRESS, IDENTITY)
    saved, damaged = resume.read(tmp_path)
    assert saved and not damaged
    assert saved.progress == PROGRESS
    assert saved.identity == IDENTITY
    other = engine()
    resume.restore(saved, other)
    for again in (first, other):
        again.step(StepBatches([batch(90, 48, seed=9)], 2), 0.01)
    for left, right in zip(first.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(left, right)


def test_state_before_the_first_step_can_be_resumed(tmp_path: Path) -> None:
    resume.save(tmp_path, engine(), Progress(), IDENTITY)
    saved, _ = resume.read(tmp_path)
    assert saved
    resume.restore(saved, other := engine())
    assert other.step(StepBatches([batch(60)], 1), 0.01).loss > 0


def test_last_two_states_are_kept_and_newest_is_read(tmp_path: Path) -> None:
    first = trained(1)
    for epoch, position in ((1, 9), (1, 10), (2, 0), (10, 5)):
        resume.save(tmp_path, first, Progress(epoch, position), IDENTITY)
    assert [path.name for path in resume.state_files(tmp_path)] == [
        "000010-00000005.safetensors",
        "000002-00000000.safetensors",
    ]
    saved, _ = resume.read(tmp_path)
    assert saved and (saved.progress.epoch, saved.progress.position) == (10, 5)


def test_full_disk_keeps_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trained(1)
    resume.save(tmp_path, first, Progress(1, 9), IDENTITY)
    [before] = resume.state_files(tmp_path)
    content = before.read_bytes()

    opened = Path.open

    def full(path: Path, *arguments: Any, **keywords: Any) -> Any:
        if path.name.endswith(".part"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(
        TrainingError, match=r"No space left on device; .*000001-00000009.safetensors is complete: free some space"
    ):
        resume.save(tmp_path, first, Progress(1, 10), IDENTITY)
    assert [before] == resume.state_files(tmp_path)
    assert before.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"no such format", None])
def test_damaged_state_is_reported_and_skipped(content: bytes | None, tmp_path: Path) -> None:
    resume.save(tmp_path, engine(), Progress(1, 1), IDENTITY)
    resume.save(tmp_path, engine(), Progress(2, 1), IDENTITY)
    newest = resume.state_files(tmp_path)[0]
    newest.write_bytes(newest.read_bytes()[:-1] if content is None else content)
    saved, [message] = resume.read(tmp_path)
    assert saved and saved.progress.epoch == 1
    assert str(newest) in message and "an older one is used" in message


def test_folder_without_states(tmp_path: Path) -> None:
    assert resume.read(tmp_path) == (None, [])


def test_best_epoch_has_lowest_wer_then_loss() -> None:
    rows = [replace(ROW, epoch=number, dev_wer=wer, dev_loss=loss) for number, wer, loss in ((1, 1, 3), (2, 1, 2))]
    assert Progress().best is None
    assert Progress(rows=rows).best == rows[1]
    assert Progress(rows=[*rows, replace(ROW, epoch=3, dev_wer=0.5)]).best == replace(ROW, epoch=3, dev_wer=0.5)


def test_begin_epoch_resets_the_sums() -> None:
    progress = Progress(2, 5, 1.0, 2, 3.0, 4.0, 5.0, 6, norms=[1.0], rows=[ROW], notes=["n"], minutes=3.0)
    progress.begin_epoch(3)
    assert progress == Progress(3, rows=[ROW], notes=["n"], minutes=3.0)


@pytest.mark.parametrize(
    ("processes", "now", "mend"),
    [
        (8, "16 -> 8, so that each step processes 0.5 times", "training.accumulate=2 keeps the steps the same"),
        (32, "16 -> 32, so that each step processes 2 times", "with 32 processes the steps cannot stay the same"),
    ],
)
def test_another_number_of_processes_says_how_the_steps_change(processes: int, now: str, mend: str) -> None:
    before = IDENTITY | {"batches per step": 16, "processes": 16}
    state = resume.State(Path("run/resume/000001-00000003.safetensors"), PROGRESS, before, {}, {})
    after = IDENTITY | {"batches per step": processes, "processes": processes}
    expected = f"batches per step: {now} as much audio at the same learning rate; {mend}"
    assert resume.changes(state, after, override=True) == [expected]
    with pytest.raises(TrainingError, match=re.escape(expected)):
        resume.changes(state, after, override=False)
    assert not resume.changes(state, before | {"processes": 8}, override=False)


def test_other_processes_that_share_the_same_steps_are_named() -> None:
    before = IDENTITY | {"batches per step": 8, "processes": 2}
    state = resume.State(Path("run/resume/000001-00000003.safetensors"), PROGRESS, before, {}, {})
    expected = "resumed with 4 instead of 2 processes; each step has 8 batches as before"
    assert resume.other_processes(state, before | {"processes": 4}) == expected
    assert not resume.other_processes(state, before)
    assert not resume.other_processes(state, IDENTITY | {"batches per step": 16, "processes": 4})


def test_a_state_of_an_earlier_version_continues() -> None:
    recipe = config.to_dict(Recipe())
    now = IDENTITY | {"batches per step": 3 * recipe["training"]["accumulate"], "processes": 3}
    for section, name in (
        ("training", "buffer_hours"),
        ("features", "kind"),
        ("model", "lookahead"),
        ("augment", "codec"),
    ):
        del recipe[section][name]
    state = resume.State(
        Path("run/resume/000001-00000003.safetensors"), PROGRESS, {"recipe": recipe, "train": "abc"}, {}, {}
    )
    assert not resume.changes(state, now, override=False)
    assert not resume.other_processes(state, now)
    recipe["model"]["hidden"] = 7
    with pytest.raises(TrainingError, match=r"model\.hidden: 7 -> 192"):
        resume.changes(state, now, override=False)
