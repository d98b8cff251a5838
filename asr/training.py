"""The CTC loop: epochs, validation, schedule, best and last model."""

import json
import logging
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from asr import checkpoint, config, dataset, device, manifest, scoring
from asr.audio import AudioError
from asr.batching import Batch
from asr.checkpoint import Settings
from asr.dataset import Dataset, Source
from asr.decoding import greedy
from asr.events import Epoch, Note, Preparing, Report, Step
from asr.manifest import Utterance
from asr.model import Model
from asr.recipe import Recipe
from asr.text import BLANK, Alphabet, TextError
from asr.version import __version__

log = logging.getLogger(__name__)
# Without a handler, Python itself would print warnings; who wants them sets logging up.
log.addHandler(logging.NullHandler())

CACHE = ".features"
WRITTEN = ("best.safetensors", "last.safetensors", "train.jsonl")
_MEND = "the last good model is kept; a lower training.learning_rate or training.clip may help"


class TrainingError(ValueError):
    """Data that cannot be trained on, or a run that diverged."""


@dataclass(frozen=True)
class Result:
    """What a run came to: the best model's file, its epoch and its dev WER as a fraction."""

    model: Path
    epoch: int
    dev_wer: float


def _ctc_loss(model: Model, batch: Batch, place: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss of each utterance (B,), log_probs (B, T', V) and their lengths."""
    output = model(batch.features.to(place), batch.feature_lengths.to(place))
    # torch has CTC for the CPU and CUDA alone.
    there = torch.device("cpu") if place.type == "mps" else place
    losses = functional.ctc_loss(
        output.log_probs.transpose(0, 1).to(there),
        batch.targets.to(there),
        output.lengths.to(there),
        batch.target_lengths.to(there),
        blank=BLANK,
        reduction="none",
    )
    return losses, output.log_probs, output.lengths


def validate(model: Model, data: Dataset, alphabet: Alphabet, longest: int) -> tuple[float, scoring.Score]:
    """Return the loss in nats a character and the greedy score of a dataset."""
    place = next(model.parameters()).device
    hypotheses = [""] * len(data.items)
    total = 0.0
    model.eval()
    with torch.inference_mode():
        for indices, batch in dataset.batches(data, longest):
            losses, log_probs, lengths = _ctc_loss(model, batch, place)
            total += losses.cpu()[batch.target_lengths > 0].sum().item()
            if not np.isfinite(total):
                raise TrainingError("the loss is no longer a number")
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
        losses, _, _ = _ctc_loss(self.model, batch, self.device)
        loss = losses.sum()
        (loss / len(batch.feature_lengths)).backward()  # type: ignore[no-untyped-call]
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.training.clip))
        value = loss.item()
        if not np.isfinite(value) or not np.isfinite(norm):
            raise TrainingError(
                f"training diverged: loss {value}, gradient norm {norm} in the batch of {', '.join(ids)}; {_MEND}"
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

    try:
        data = dataset.load(source, recipe.text, recipe.features, recipe.model.time_reduction, progress)
    except (TextError, AudioError) as error:
        raise type(error)(f"{name}: {error}") from error
    if not any(item.tokens for item in data.items):
        raise TrainingError(f"{name}: no utterance is left to use; `asr doctor` says what is wrong with each")
    for ids, why in (
        (data.unalignable, "too few output frames for the transcript"),
        (data.unknown, "characters outside the alphabet"),
    ):
        if ids:
            shown = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
            count = len(source.utterances) * len(source.speeds)
            what = "without a loss, but scored," if source.keep else "dropped"
            message = f"{name}: {what} {len(ids)} of {count} utterances: {why} ({shown})"
            log.warning(message)
            report(Note(message))
    return data


def _card(recipe: Recipe, data: dict[str, tuple[Path, Dataset]]) -> dict[str, Any]:
    packages = ("torch", "librosa", "numpy", "soundfile", "soxr")
    return {
        "recipe": config.to_dict(recipe),
        "data": {
            name: {
                "manifest": path.name,
                "utterances": len(part.items),
                "hours": round(part.seconds / 3600, 3),
                "unalignable": len(part.unalignable),
                "unknown_characters": len(part.unknown),
            }
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

    A run that is in the folder already is replaced, once the data is loaded. The feature cache is kept in `.features`
    beside each manifest. Raises TrainingError, ManifestError, TextError, AudioError or DeviceError with what is wrong
    and where; the epochs that were saved stay.
    """
    report = report or (lambda event: None)
    out = Path(out)
    paths = {"train": Path(train_manifest), "dev": Path(dev_manifest)}
    rows: dict[str, list[Utterance]] = {name: manifest.read(path) for name, path in paths.items()}
    alphabet = dataset.alphabet_of(rows["train"], recipe.text)
    recipe = replace(recipe, text=replace(recipe.text, alphabet=alphabet.characters))
    _check_out(out, list(paths.values()))
    place = device.choose(recipe.training.device)
    data = {
        name: _load(
            str(paths[name]),
            Source(rows[name], paths[name].parent / CACHE, speeds, keep=name == "dev"),
            recipe,
            report,
        )
        for name, speeds in (("train", recipe.augment.speeds), ("dev", (1.0,)))
    }
    torch.manual_seed(recipe.training.seed)
    settings = Settings(recipe.features, recipe.text, recipe.model)
    model = settings.build().to(place)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=recipe.training.learning_rate, weight_decay=recipe.training.weight_decay
    )
    for name in WRITTEN:
        (out / name).unlink(missing_ok=True)
    card = _card(recipe, {name: (paths[name], data[name]) for name in paths})
    return _epochs(_Run(model, optimiser, recipe, place, report), data, settings, card, out)


def _check_out(out: Path, manifests: Sequence[Path]) -> None:
    """Make the run's folder before hours of work, and see that the run will not overwrite what it reads."""
    out.mkdir(parents=True, exist_ok=True)
    for path in manifests:
        if path.resolve() in {(out / name).resolve() for name in WRITTEN}:
            raise TrainingError(f"{out}: the run would write over its own manifest {path}; choose another folder")


def _epochs(run: _Run, data: dict[str, Dataset], settings: Settings, card: dict[str, Any], out: Path) -> Result:
    best = Result(out / "best.safetensors", 0, float("inf"))
    lowest = float("inf")
    history: list[str] = []
    begin = time.perf_counter()
    for epoch in range(1, run.recipe.training.epochs + 1):
        started = time.perf_counter()
        averages = run.train_epoch(epoch, data["train"])
        try:
            dev_loss, score = validate(run.model, data["dev"], settings.alphabet, run.longest)
        except TrainingError as error:
            raise TrainingError(f"training diverged in the last step of epoch {epoch}: {error}; {_MEND}") from error
        # Of equal error rates, 100 % above all, the lower loss is the better model.
        better = (score.wer.value, dev_loss) < (best.dev_wer, lowest)
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
            best, lowest = Result(best.model, epoch, row.dev_wer), dev_loss
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
