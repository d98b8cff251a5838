"""Two processes train one model: equal gradients, restarts and failures."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from asr import config, training
from asr.corpora import manifest
from asr.model import checkpoint, network
from asr.training import distributed
from asr.training.distributed import World
from asr.training.recipe import Recipe

# Odd numbers everywhere: utterances that leave the last step with one batch for two processes.
SETTINGS = ["model.dropout=0", "augment.mel_masks=1", "augment.time_masks=1.0", "training.batch_seconds=8"]


@pytest.fixture(scope="module")
def corpus(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.jsonl, dev.jsonl and their features: three steps of two batches each, and one of one."""
    folder = tmp_path_factory.mktemp("shared")
    manifest.write(folder / "train.jsonl", manifest.read(tones / "train.jsonl")[:35])
    manifest.write(folder / "dev.jsonl", manifest.read(tones / "dev.jsonl")[:7])
    (folder / "tiny.toml").write_text((tones / "tiny.toml").read_text())
    return folder


def torchrun(
    corpus: Path, run: Path, *settings: str, restarts: int = 0, train: Path | None = None
) -> subprocess.Popen[str]:
    # A free port of its own: two tests may run at once.
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    command += [f"--max-restarts={restarts}", "-m", "asr", "train", str(corpus / "tiny.toml")]
    command += ["--train", str(train or corpus / "train.jsonl"), "--dev", str(corpus / "dev.jsonl"), "--out", str(run)]
    for setting in (*SETTINGS, *settings):
        command += ["--set", setting]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for torchrun and its processes; a hang is a failure."""
    try:
        out, error = process.communicate(timeout=100)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, out + error


def weights(run: Path) -> torch.Tensor:
    model, _ = network.load(run / "last.safetensors")
    return torch.cat([parameter.flatten() for parameter in model.parameters()])


def test_single_process_needs_no_communication() -> None:
    with distributed.join_processes(torch.device("cpu")) as world:
        assert (world.rank, world.size, world.is_main) == (0, 1, True)
        values = torch.tensor([1.0, 2.0])
        assert world.sum(values) is values
        assert world.minimum(values) is values
        world.barrier()


def test_rank_out_of_range_raises_value_error() -> None:
    with pytest.raises(ValueError, match="rank = 2 is not between 0 and 1"):
        World(rank=2, size=2)


@pytest.mark.slow
def test_two_processes_equal_one_that_accumulates(corpus: Path, tmp_path: Path) -> None:
    code, said = finish(torchrun(corpus, tmp_path / "two", "training.epochs=2"))
    assert code == 0, said
    assert said.count("epoch 2/2") == 1 and said.count("best model:") == 1
    overrides = [*SETTINGS, "training.epochs=2", "training.accumulate=2"]
    recipe = config.read(corpus / "tiny.toml", Recipe, overrides)
    training.train(recipe, corpus / "train.jsonl", corpus / "dev.jsonl", tmp_path / "one")
    torch.testing.assert_close(weights(tmp_path / "two"), weights(tmp_path / "one"), rtol=1e-4, atol=1e-5)
    cards = [checkpoint.inspect(tmp_path / name / "last.safetensors").card for name in ("one", "two")]
    assert cards[0]["dev_wer"] == cards[1]["dev_wer"]
    assert [card["processes"] for card in cards] == [1, 2]


@pytest.mark.slow
def test_run_of_two_processes_is_resumed_by_one_and_by_two(corpus: Path, tmp_path: Path) -> None:
    settings = ["training.epochs=2", "training.checkpoint_minutes=0", "training.checkpoints=100"]
    code, said = finish(torchrun(corpus, tmp_path / "two", *settings))
    assert code == 0, said
    for name in ("one", "other"):
        # The state after the first of four steps of the second epoch.
        saved = sorted((tmp_path / "two/resume").glob("000002-*"))[0]
        (tmp_path / name / "resume").mkdir(parents=True)
        (tmp_path / name / "resume" / saved.name).write_bytes(saved.read_bytes())
    files = corpus / "train.jsonl", corpus / "dev.jsonl"
    recipe = config.read(corpus / "tiny.toml", Recipe, [*SETTINGS, *settings])
    with pytest.raises(training.TrainingError, match=r"batches per step: 2 -> 1, .* 0\.5 times .*accumulate=2 keeps"):
        training.train(recipe, *files, tmp_path / "one")
    notes: list[str] = []
    options = training.TrainOptions(lambda event: notes.append(getattr(event, "message", "")))
    same = config.read(corpus / "tiny.toml", Recipe, [*SETTINGS, *settings, "training.accumulate=2"])
    training.train(same, *files, tmp_path / "one", options)
    assert any("resumed with 1 instead of 2 processes; each step has 2 batches as before" in note for note in notes)
    torch.testing.assert_close(weights(tmp_path / "one"), weights(tmp_path / "two"), rtol=1e-4, atol=1e-5)
    code, said = finish(torchrun(corpus, tmp_path / "other", *settings))
    assert code == 0 and said.count("resumed in epoch 2 after ") == 1, said
    assert torch.equal(weights(tmp_path / "other"), weights(tmp_path / "two"))
    code, said = finish(torchrun(corpus, tmp_path / "other", *settings, "training.accumulate=2"))
    assert code != 0 and "batches per step: 2 -> 4, so that each step processes 2 times as much audio" in said, said


@pytest.mark.slow
def test_killed_process_is_restarted_and_the_run_resumed(corpus: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = torchrun(corpus, run, "training.epochs=25", "training.checkpoint_minutes=0", restarts=3)
    while not list(run.glob("resume/000003-*")) and process.poll() is None:
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        finish(process)
        pytest.skip("no /proc: the processes that torchrun started cannot be result")
    os.kill(int(children.read_text().split()[-1]), signal.SIGKILL)
    code, said = finish(process)
    assert code == 0, said
    assert "resumed in epoch" in said
    assert "epoch 25/25" in said


@pytest.mark.slow
def test_all_processes_end_when_one_fails(corpus: Path, tmp_path: Path) -> None:
    begin = time.monotonic()
    code, said = finish(torchrun(corpus, tmp_path / "run", "training.learning_rate=1e30"))
    assert code != 0
    assert "asr: training diverged" in said
    assert time.monotonic() - begin < 60
