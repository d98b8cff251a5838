"""The CTC loop: epochs, validation, schedule, best and last model."""

import json
import logging
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from asr import checkpoint, config, dataset, manifest, scoring
from asr.batching import Batch
from asr.checkpoint import Settings
from asr.dataset import Dataset, Source
from asr.decoding import greedy
from asr.manifest import Utterance
from asr.model import Model
from asr.recipe import Recipe
from asr.text import BLANK, Alphabet
from asr.version import __version__

log = logging.getLogger(__name__)

CACHE = ".features"


class TrainingError(ValueError):
    """Data that cannot be trained on, or a run that diverged."""


@dataclass(frozen=True)
class Preparing:
    """Told while features are computed: seconds of audio done and in all."""

    done: float
    total: float


@dataclass(frozen=True)
class Step:
    """Told after each batch: seconds of audio done and in all in this epoch; `loss` in nats a character."""

    epoch: int
    epochs: int
    done: float
    total: float
    loss: float


@dataclass(frozen=True)
class Epoch:
    """Told after each epoch; one line of train.jsonl. Losses in nats a character, WER as a fraction."""

    epoch: int
    epochs: int
    train_loss: float
    dev_loss: float
    dev_wer: float
    best: bool
    learning_rate: float
    gradient_norm: float
    seconds: float
    data_wait: float
    audio_hours: float


@dataclass(frozen=True)
class Note:
    """Told when something happened that the user should know."""

    message: str


Event = Preparing | Step | Epoch | Note
Report = Callable[[Event], None]


@dataclass(frozen=True)
class Result:
    """What a run came to: the best model's file, its epoch and its dev WER as a fraction."""

    model: Path
    epoch: int
    dev_wer: float


def choose_device(name: str) -> torch.device:
    """Return the device of that name; `auto`: CUDA, else MPS, else the CPU. Raises TrainingError if it is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if there[device])
    if not there.get(name, False):
        found = ", ".join(device for device, present in there.items() if present)
        raise TrainingError(f"device {name} is not there; this machine has {found}")
    return torch.device(name)


def _ctc_loss(model: Model, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss summed over the batch, log_probs (B, T', V) and their lengths."""
    output = model(batch.features.to(device), batch.feature_lengths.to(device))
    loss = functional.ctc_loss(
        output.log_probs.transpose(0, 1),
        batch.targets.to(device),
        output.lengths,
        batch.target_lengths.to(device),
        blank=BLANK,
        reduction="sum",
    )
    return loss, output.log_probs, output.lengths


def validate(model: Model, data: Dataset, alphabet: Alphabet, longest: int) -> tuple[float, scoring.Score]:
    """Return the loss in nats a character and the greedy score of a dataset."""
    device = next(model.parameters()).device
    hypotheses = [""] * len(data.items)
    total = 0.0
    model.eval()
    with torch.inference_mode():
        for indices, batch in dataset.batches(data, longest):
            loss, log_probs, lengths = _ctc_loss(model, batch, device)
            total += loss.item()
            for index, row, length in zip(indices, log_probs.cpu().numpy(), lengths.tolist(), strict=True):
                hypotheses[index] = greedy(row[:length], alphabet).text
    characters = sum(len(item.tokens) for item in data.items)
    result = scoring.score([item.text for item in data.items], hypotheses, [item.id for item in data.items])
    return total / max(characters, 1), result


@dataclass
class _Run:
    """What changes while a run goes on."""

    model: Model
    optimiser: torch.optim.Optimizer
    recipe: Recipe
    device: torch.device
    report: Report

    @property
    def longest(self) -> int:
        return round(self.recipe.training.batch_seconds / self.recipe.features.hop)

    def step(self, batch: Batch, learning_rate: float, ids: Sequence[str]) -> tuple[float, float]:
        """Train on one batch; return its loss and the gradient's norm."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.optimiser.zero_grad(set_to_none=True)
        loss, _, _ = _ctc_loss(self.model, batch, self.device)
        (loss / len(batch.feature_lengths)).backward()  # type: ignore[no-untyped-call]
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.training.clip))
        value = loss.item()
        if not np.isfinite(value) or not np.isfinite(norm):
            raise TrainingError(
                f"training diverged: loss {value}, gradient norm {norm} in the batch of {', '.join(ids)}; the last "
                "good model is kept; a lower training.learning_rate or training.clip may help"
            )
        self.optimiser.step()
        return value, norm

    def train_epoch(self, epoch: int, data: Dataset) -> dict[str, float]:
        """Train on every batch once; return the averages that train.jsonl has."""
        settings = self.recipe.training
        random = np.random.default_rng((settings.seed, epoch))
        self.model.train()
        losses, norms, wait, characters, done = 0.0, [], 0.0, 0, 0.0
        begin = asked = time.perf_counter()
        for indices, batch in dataset.batches(data, self.longest, random):
            hop = self.recipe.features.hop
            batch = dataset.masked(batch, indices, self.recipe.augment, hop, (settings.seed, epoch))  # noqa: PLW2901
            wait += time.perf_counter() - asked
            learning_rate = self.recipe.learning_rate(epoch - 1 + done / data.seconds)
            loss, norm = self.step(batch, learning_rate, [data.items[index].id for index in indices])
            losses += loss
            norms.append(norm)
            characters += int(batch.target_lengths.sum())
            done += sum(data.items[index].duration for index in indices)
            self.report(Step(epoch, settings.epochs, done, data.seconds, losses / max(characters, 1)))
            asked = time.perf_counter()
        seconds = time.perf_counter() - begin
        return {
            "train_loss": losses / max(characters, 1),
            "gradient_norm": float(np.median(norms)),
            "data_wait": wait / seconds,
            "audio_hours": done / 3600,
            "learning_rate": learning_rate,
        }


def _load(name: str, source: Source, recipe: Recipe, report: Report) -> Dataset:
    def progress(done: float, total: float) -> None:
        report(Preparing(done, total))

    data = dataset.load(source, recipe.text, recipe.features, recipe.model.time_reduction, progress)
    for ids, why in (
        (data.unalignable, "too few output frames for the transcript"),
        (data.unknown, "characters outside the alphabet"),
    ):
        if ids:
            shown = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
            report(Note(f"{name}: dropped {len(ids)} of {len(ids) + len(data.items)} utterances: {why} ({shown})"))
    if not data.items:
        raise TrainingError(f"{name}: no utterance is left to use; `asr doctor` says what is wrong with each")
    return data


def _card(recipe: Recipe, data: dict[str, tuple[Path, Dataset]]) -> dict[str, Any]:
    packages = ("torch", "librosa", "numpy", "soundfile", "soxr")
    return {
        "recipe": config.to_dict(recipe),
        "data": {
            name: {"manifest": path.name, "utterances": len(part.items), "hours": round(part.seconds / 3600, 3)}
            for name, (path, part) in data.items()
        },
        "versions": {"asr": __version__, "python": platform.python_version()}
        | {package: version(package) for package in packages},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def train(
    recipe: Recipe, train_manifest: str | Path, dev_manifest: str | Path, out: str | Path, report: Report | None = None
) -> Result:
    """Train a model by the recipe and write best.safetensors, last.safetensors and train.jsonl into the folder `out`.

    The feature cache is kept in `.features` beside each manifest. Raises TrainingError, ManifestError, TextError or
    AudioError with what is wrong and where; what was saved before stays.
    """
    report = report or (lambda event: None)
    out = Path(out)
    paths = {"train": Path(train_manifest), "dev": Path(dev_manifest)}
    rows: dict[str, list[Utterance]] = {name: manifest.read(path) for name, path in paths.items()}
    alphabet = dataset.alphabet_of(rows["train"], recipe.text)
    recipe = replace(recipe, text=replace(recipe.text, alphabet=alphabet.characters))
    device = choose_device(recipe.training.device)
    data = {
        name: _load(
            str(paths[name]),
            Source(rows[name], paths[name].parent / CACHE, recipe.augment.speeds if name == "train" else (1.0,)),
            recipe,
            report,
        )
        for name in paths
    }
    torch.manual_seed(recipe.training.seed)
    settings = Settings(recipe.features, recipe.text, recipe.model)
    model = settings.build().to(device)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=recipe.training.learning_rate, weight_decay=recipe.training.weight_decay
    )
    out.mkdir(parents=True, exist_ok=True)
    card = _card(recipe, {name: (paths[name], data[name]) for name in paths})
    return _epochs(_Run(model, optimiser, recipe, device, report), data, settings, card, out)


def _epochs(run: _Run, data: dict[str, Dataset], settings: Settings, card: dict[str, Any], out: Path) -> Result:
    best = Result(out / "best.safetensors", 0, float("inf"))
    history: list[str] = []
    begin = time.perf_counter()
    for epoch in range(1, run.recipe.training.epochs + 1):
        started = time.perf_counter()
        averages = run.train_epoch(epoch, data["train"])
        dev_loss, score = validate(run.model, data["dev"], settings.alphabet, run.longest)
        better = score.wer.value < best.dev_wer
        row = Epoch(
            epoch=epoch,
            epochs=run.recipe.training.epochs,
            dev_loss=dev_loss,
            dev_wer=score.wer.value,
            best=better,
            seconds=time.perf_counter() - started,
            **averages,
        )
        minutes = (time.perf_counter() - begin) / 60
        made = card | {"epoch": epoch, "dev_wer": row.dev_wer, "minutes": round(minutes, 1), "device": run.device.type}
        checkpoint.save(out / "last.safetensors", run.model, settings, made)
        if better:
            best = Result(best.model, epoch, row.dev_wer)
            checkpoint.save(best.model, run.model, settings, made)
        history.append(json.dumps(asdict(row)))
        part = out / "train.jsonl.part"
        part.write_text("\n".join(history) + "\n", encoding="utf-8")
        part.replace(out / "train.jsonl")
        run.report(row)
        if 0 < run.recipe.training.patience <= epoch - best.epoch:
            run.report(Note(f"stopped: no better dev WER for {epoch - best.epoch} epochs"))
            break
    return best
