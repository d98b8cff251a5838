"""Training on shards: the same results as often as it is interrupted, for any number of processes, and failures."""

import http.server
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch

from asr import config, training
from asr.audio import AudioError
from asr.corpora import manifest, sharding, shards
from asr.corpora.sharding import ShardSettings
from asr.corpora.shards import ShardError
from asr.model import checkpoint
from asr.text import TextError
from asr.training import TrainingError, TrainOptions, resume
from asr.training.distributed import World
from asr.training.events import Epoch, Event, Step
from asr.training.recipe import Recipe
from asr.training.shards import START, Corpus, Pass
from tests.training.test_distributed import finish, torchrun
from tests.training.test_run import After, log, notes, weights

# Several shards, buffers that begin within one, and several batches in each buffer.
SETTINGS = ["training.buffer_hours=0.006", "training.batch_seconds=8", "training.epochs=2", "augment.time_masks=1.0"]


@pytest.fixture(scope="module")
def sharded(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with shards of the tones, dev.jsonl and tiny.toml."""
    folder = tmp_path_factory.mktemp("sharded")
    written = sharding.write(manifest.read(tones / "train.jsonl"), folder, ShardSettings(megabytes=0.45))
    assert 4 <= len(written) <= 8
    manifest.write(folder / "dev.jsonl", manifest.read(tones / "dev.jsonl"))
    (folder / "tiny.toml").write_text((tones / "tiny.toml").read_text())
    return folder


@pytest.fixture
def recipe(sharded: Path) -> Recipe:
    return config.read(sharded / "tiny.toml", Recipe, SETTINGS)


def train(recipe: Recipe, sharded: Path, out: Path, **options: Any) -> training.TrainResult:
    return training.train(recipe, sharded, sharded / "dev.jsonl", out, TrainOptions(**options))


def copy(sharded: Path, to: Path) -> Path:
    to.mkdir()
    for path in [*sharded.glob("*.tar"), sharded / "shards.jsonl"]:
        (to / path.name).write_bytes(path.read_bytes())
    manifest.write(to / "dev.jsonl", manifest.read(sharded / "dev.jsonl"))
    return to


# Results


def test_training_on_shards_learns(sharded: Path, tmp_path: Path) -> None:
    recipe = config.read(sharded / "tiny.toml", Recipe, ["training.buffer_hours=0.01"])
    events: list[Event] = []
    result = train(recipe, sharded, tmp_path, on_event=events.append)
    assert result.finished and result.dev_wer <= 0.5
    card = checkpoint.inspect(tmp_path / "best.safetensors").card["data"]["train"]
    assert (card["utterances"], card["shards"]) == (60, str(sharded / "shards.jsonl"))
    steps = [event for event in events if isinstance(event, Step)]
    assert steps[-1].done == pytest.approx(steps[-1].total, rel=1e-4)
    assert not list(sharded.rglob(".features/train*"))


@pytest.mark.parametrize("steps", [2, 5])
def test_resumed_run_has_the_same_weights(recipe: Recipe, sharded: Path, steps: int, tmp_path: Path) -> None:
    train(recipe, sharded, tmp_path / "whole")
    stopped = train(recipe, sharded, tmp_path / "resumed", should_stop=After(steps))
    assert not stopped.finished
    state, _ = resume.read(tmp_path / "resumed")
    assert state
    if steps == 5:  # within a shard, which is neither the first nor at its beginning
        [[shard, offset, number]] = state.progress.places
        assert min(shard, offset, number) > 0 and state.progress.position > state.progress.before
    while not train(recipe, sharded, tmp_path / "resumed", resume=True, should_stop=After(steps)).finished:
        pass
    assert torch.equal(weights(tmp_path / "whole"), weights(tmp_path / "resumed"))
    assert log(tmp_path / "whole") == log(tmp_path / "resumed")


def test_seed_determines_the_weights(recipe: Recipe, sharded: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(replace(recipe, training=replace(recipe.training, seed=seed)), sharded, tmp_path / name)
    assert torch.equal(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not torch.equal(weights(tmp_path / "a"), weights(tmp_path / "c"))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_processes_share_each_epoch(recipe: Recipe, sharded: Path, size: int) -> None:
    index = shards.read_index(str(sharded / "shards.jsonl"))
    orders = []
    for epoch in (1, 2):
        read: Counter[str] = Counter()
        for rank in range(size):
            corpus = Corpus(index, recipe, World(rank=rank, size=size))
            read.update(name for buffer in corpus.buffers(Pass(epoch, (1.0,), 0.0)) for name in buffer.data.ids)
        assert len(read) == 60 and set(read.values()) == {1}
        orders.append(list(read))
    assert orders[0] != orders[1]


def test_buffer_is_found_again_at_its_place(recipe: Recipe, sharded: Path) -> None:
    corpus = Corpus(shards.read_index(str(sharded / "shards.jsonl")), recipe, World())
    epoch = Pass(1, (1.0, 0.9), 0.0)
    whole = list(corpus.buffers(epoch))
    assert len(whole) > 2 and whole[0].place == START
    for number, buffer in enumerate(whole):
        again = list(corpus.buffers(epoch, buffer.place))
        assert [other.data.ids for other in again] == [other.data.ids for other in whole[number:]]
    longest = max(float(buffer.data.lengths.sum()) for buffer in whole)
    assert 0.006 * 3600 <= longest < 0.006 * 3600 + 3


def test_speeds_noise_and_all_options(recipe: Recipe, sharded: Path, tones: Path, tmp_path: Path) -> None:
    full = replace(
        recipe,
        training=replace(recipe.training, epochs=3, clean_epochs=1, average=2, accumulate=2),
        augment=replace(
            recipe.augment, speeds=(0.9, 1.0), noise=str(tones / "dev"), noise_copies=2, silence=0.2, warp=0.1
        ),
        features=replace(recipe.features, normalisation="corpus", top_db=0),
    )
    events: list[Event] = []
    train(full, sharded, tmp_path / "whole", on_event=events.append)
    rows = [event for event in events if isinstance(event, Epoch)]
    assert rows[2].audio_hours == pytest.approx(rows[0].audio_hours / (1 + 1 / 0.9), rel=1e-6)
    assert not train(full, sharded, tmp_path / "resumed", should_stop=After(4)).finished
    assert train(full, sharded, tmp_path / "resumed").finished
    assert torch.equal(weights(tmp_path / "whole"), weights(tmp_path / "resumed"))


def test_distorted_copies_are_used_for_their_share(recipe: Recipe, sharded: Path, tones: Path) -> None:
    noisy = replace(recipe, augment=replace(recipe.augment, synthetic_noise=1.0, noise_copies=2))
    index = shards.read_index(str(sharded / "shards.jsonl"))

    def frames(chosen: Recipe, share: float) -> dict[str, float]:
        buffers = Corpus(index, chosen, World()).buffers(Pass(1, (1.0,), share))
        return {
            name: float(buffer.data.caches[0][0][row].sum())
            for buffer in buffers
            for row, name in enumerate(buffer.data.ids)
        }

    clean = frames(recipe, 0.0)
    assert frames(noisy, 0.0) == clean
    half = frames(noisy, 0.5)
    assert 15 <= sum(half[name] != clean[name] for name in clean) <= 45
    assert frames(noisy, 0.5) == half


def test_auto_alphabet_is_that_of_the_index(recipe: Recipe, sharded: Path, tmp_path: Path) -> None:
    train(replace(recipe, text=replace(recipe.text, alphabet="auto")), sharded, tmp_path)
    assert checkpoint.inspect(tmp_path / "best.safetensors").settings.text.alphabet == " ABC"


def test_shards_at_a_url(recipe: Recipe, sharded: Path, tmp_path: Path) -> None:
    remote = fsspec.filesystem("memory")
    remote.put(str(sharded), "/sharded", recursive=True)
    try:
        training.train(recipe, "memory://sharded", sharded / "dev.jsonl", tmp_path / "remote")
    finally:
        remote.rm("/sharded", recursive=True)
    train(recipe, sharded, tmp_path / "local")
    assert torch.equal(weights(tmp_path / "remote"), weights(tmp_path / "local"))


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, and the range of bytes that is asked for."""

    ranges = True

    def do_GET(self) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not asked or not self.ranges:
            super().do_GET()
            return
        content = Path(self.translate_path(self.path)).read_bytes()
        part = content[int(asked[1]) : int(asked[2]) + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


class WithoutRanges(Handler):
    ranges = False


@contextmanager
def serving(folder: Path, handler: type[Handler] = Handler) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_shards_on_an_http_server(recipe: Recipe, sharded: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    out = tmp_path / "remote"
    with serving(sharded) as server:
        result = training.train(recipe, server, sharded / "dev.jsonl", out, TrainOptions(should_stop=After(5)))
        assert not result.finished
        training.train(recipe, server, sharded / "dev.jsonl", out)
        with pytest.raises(ShardError, match=rf"^{server}/no/shards\.jsonl: no such file"):
            training.train(recipe, f"{server}/no", sharded / "dev.jsonl", tmp_path / "none")
    train(recipe, sharded, tmp_path / "local")
    assert torch.equal(weights(out), weights(tmp_path / "local"))


def test_server_without_range_requests(sharded: Path) -> None:
    pytest.importorskip("aiohttp")
    with serving(sharded, WithoutRanges) as server:
        shard = shards.read_index(f"{server}/shards.jsonl").shards[0]
        second = list(shards.verified(shard))[1]
        with pytest.raises(ShardError, match=r"000000\.tar: .*; shards need a server with range requests: nginx"):
            list(shards.verified(shard, second.offset, second.number))


# Worker processes


@pytest.mark.slow
def test_stopping_in_a_buffer_is_silent(recipe: Recipe, sharded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr.training.shards._IN_PROCESS", 0.0)
    corpus = Corpus(shards.read_index(str(sharded / "shards.jsonl")), recipe, World())
    buffers = corpus.buffers(Pass(1, (1.0,), 0.0))
    first = next(buffers)
    buffers.close()
    monkeypatch.undo()
    alone = next(corpus.buffers(Pass(1, (1.0,), 0.0)))
    assert np.array_equal(first.data.caches[0][0][0], alone.data.caches[0][0][0])


# Several processes


@pytest.mark.slow
def test_two_processes_resume_with_the_same_weights(sharded: Path, tmp_path: Path) -> None:
    settings = ["training.buffer_hours=0.003", "training.epochs=2"]
    settings += ["training.checkpoint_minutes=0", "training.checkpoints=100"]
    code, said = finish(torchrun(sharded, tmp_path / "whole", *settings, train=sharded))
    assert code == 0, said
    assert said.count("epoch 2/2") == 1
    # The state of a moment at which both processes were within a shard.
    for path in resume.state_files(tmp_path / "whole"):
        (tmp_path / "resumed/resume").mkdir(parents=True, exist_ok=True)
        copied = tmp_path / "resumed/resume" / path.name
        copied.write_bytes(path.read_bytes())
        state, _ = resume.read(tmp_path / "resumed")
        assert state
        if state.progress.places and all(number for _, _, number in state.progress.places):
            break
        copied.unlink()
    assert state and len(state.progress.places) == 2
    code, said = finish(torchrun(sharded, tmp_path / "resumed", *settings, train=sharded))
    assert code == 0, said
    assert "resumed in epoch" in said
    assert torch.equal(weights(tmp_path / "whole"), weights(tmp_path / "resumed"))
    assert checkpoint.inspect(tmp_path / "whole/last.safetensors").card["processes"] == 2
    recipe = config.read(sharded / "tiny.toml", Recipe, settings)
    with pytest.raises(TrainingError, match=r"\(.*processes that share the shards: "):
        train(recipe, sharded, tmp_path / "whole")


# Failures


def test_unalignable_and_unknown_utterances_are_dropped_with_a_note(tones: Path, tmp_path: Path) -> None:
    rows = manifest.read(tones / "train.jsonl")
    rows[3], rows[5] = replace(rows[3], text="ABC" * 50), replace(rows[5], text="XYZ")
    sharding.write(rows, tmp_path / "shards", ShardSettings(megabytes=0.45))
    recipe = config.read(tones / "tiny.toml", Recipe, [*SETTINGS, "text.unknown=drop"])
    events: list[Event] = []
    training.train(recipe, tmp_path / "shards", tones / "dev.jsonl", tmp_path / "run", TrainOptions(events.append))
    [note] = [note for note in notes(events) if "dropped" in note]
    assert note.startswith("dropped 2 copies of utterances: unreadable, too few output frames")
    strict = replace(recipe, text=replace(recipe.text, unknown="error"))
    with pytest.raises(
        TextError, match=r"0000\d\d\.tar, \d+\.wav \(train-5\): 'X', 'Y', 'Z' not in the alphabet ' ABC'"
    ):
        training.train(strict, tmp_path / "shards", tones / "dev.jsonl", tmp_path / "strict")


def test_unusable_shards_raise_training_error(recipe: Recipe, tones: Path, tmp_path: Path) -> None:
    rows = [replace(row, text="ABC" * 50) for row in manifest.read(tones / "train.jsonl")]
    sharding.write(rows, tmp_path / "shards")
    with pytest.raises(TrainingError, match="no usable utterance is left"):
        training.train(recipe, tmp_path / "shards", tones / "dev.jsonl", tmp_path / "run")


def test_damaged_recording_names_shard_and_member(recipe: Recipe, sharded: Path, tmp_path: Path) -> None:
    damaged = copy(sharded, tmp_path / "shards")
    path = damaged / "000001.tar"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"RIFF", b"RAFF", 1))
    written = sharding.write_index([str(file) for file in sorted(damaged.glob("*.tar"))], damaged / "shards.jsonl")
    assert len(written) > 3
    with pytest.raises(
        AudioError, match=r"000001\.tar, \d{9}\.wav: .*not a sound file.*; leave it out with --skip-bad"
    ):
        train(recipe, damaged, tmp_path / "run")
    events: list[Event] = []
    assert train(recipe, damaged, tmp_path / "skipped", on_event=events.append, skip_bad=True).finished
    assert any(note.startswith("left out: ") and "000001.tar" in note for note in notes(events))
    assert any(note.startswith("dropped 1 copies") for note in notes(events))


def test_missing_shard_ends_the_run(recipe: Recipe, sharded: Path, tmp_path: Path) -> None:
    damaged = copy(sharded, tmp_path / "shards")
    (damaged / "000002.tar").unlink()
    with pytest.raises(ShardError, match=r"000002\.tar: no such file"):
        train(recipe, damaged, tmp_path / "run")


def test_babble_needs_a_manifest(recipe: Recipe, sharded: Path, tmp_path: Path) -> None:
    babble = replace(recipe, augment=replace(recipe.augment, babble=0.5))
    with pytest.raises(TrainingError, match=r"augment\.babble mixes utterances of a manifest; with shards set it to 0"):
        train(babble, sharded, tmp_path)


def test_learning_curve_needs_a_manifest(recipe: Recipe, sharded: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="a learning curve needs a manifest, not shards"):
        train(recipe, sharded, tmp_path, divisor=2)


def test_fewer_shards_than_processes(recipe: Recipe, sharded: Path) -> None:
    index = shards.read_index(str(sharded / "shards.jsonl"))
    with pytest.raises(TrainingError, match=r"\d shards for 99 processes; each needs one: write smaller shards"):
        Corpus(index, recipe, World(rank=3, size=99))


def test_manifests_and_shards_are_not_mixed(recipe: Recipe, sharded: Path, tones: Path, tmp_path: Path) -> None:
    for mixed, message in (
        ([sharded, tones / "train.jsonl"], r"train\.jsonl is no index of shards"),
        ([sharded, sharded / "shards.jsonl"], "the same shards are given twice"),
    ):
        with pytest.raises(TrainingError, match=message):
            training.train(recipe, mixed, sharded / "dev.jsonl", tmp_path)


def test_changed_shards_are_not_resumed(recipe: Recipe, sharded: Path, tones: Path, tmp_path: Path) -> None:
    train(recipe, sharded, tmp_path / "run", should_stop=After(3))
    rows = manifest.read(tones / "train.jsonl")[:50]
    sharding.write(rows, tmp_path / "other", ShardSettings(megabytes=0.45))
    with pytest.raises(TrainingError, match=r"started with other settings or data \(train: "):
        training.train(recipe, tmp_path / "other", sharded / "dev.jsonl", tmp_path / "run")
    result = training.train(
        recipe, tmp_path / "other", sharded / "dev.jsonl", tmp_path / "run", TrainOptions(override=True)
    )
    assert result.finished
