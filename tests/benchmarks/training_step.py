"""How fast training is: a step against the usual way to write the network, a layer against a matrix product, and a
whole epoch against its bare steps and against real time. Every ratio is of speeds: more is better, 1 is as fast.

usage: python tests/benchmarks/training_step.py [--device cpu|cuda] [--rounds N] [--parts PART,…] [RECIPE MANIFEST]
parts: step, precision, layer and epoch are the default; rate tells hours of audio a second at the lengths of
LibriSpeech's utterances, in the recipe's own batches and in ones of twice the length. Without a RECIPE it is an4's, and
the epoch is one of the digits; with a MANIFEST every 20th of its rows is the dev set.
"""

import argparse
import os

# As `asr train` does.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")

import dataclasses
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from asr import compute as device
from asr import config, training
from asr.corpora import librispeech, manifest
from asr.features import batching
from asr.model import ModelSettings, checkpoint, network
from asr.model.network import Front, Model, RecurrentLayer
from asr.training import TrainOptions
from asr.training.batch import Batch, pad
from asr.training.distributed import World
from asr.training.events import Epoch, Event
from asr.training.recipe import AUTO, Recipe
from asr.training.step import Engine, StepBatches, StepResult

# The deciles of the durations (s), and the characters a second, of the training sets: AN4's and train-clean-5's.
CORPORA = {
    "an4": ((0.7, 1.1, 1.6, 2.0, 2.2, 2.5, 2.8, 3.2, 3.7, 4.3, 6.3), 7.0),
    "librispeech": ((1.87, 6.32, 10.0, 12.26, 13.22, 13.92, 14.49, 14.93, 15.37, 15.78, 17.27), 14.6),
}
UTTERANCES = 3000
BATCH_SECONDS = (60, 120)
WARM = 2
FRAMES, INPUTS, HIDDEN = 300, 512, 256
BATCHES = (16, 8, 32)
SQUARES = (1024, 1536, 2048)
EPOCHS = 4


class Packed(nn.Module):
    """The same network as deepspeech.pytorch and SpeechBrain write theirs: nn.LSTM over packed sequences."""

    def __init__(self, features: int, tokens: int, settings: ModelSettings) -> None:
        super().__init__()
        self.front = Front(features, settings)
        width = 2 * settings.hidden
        sizes = [self.front.dimension] + [width] * (settings.layers - 1)
        self.norms = nn.ModuleList(nn.LayerNorm(size) for size in sizes)
        self.layers = nn.ModuleList(
            nn.LSTM(size, settings.hidden, batch_first=True, bidirectional=True) for size in sizes
        )
        self.last_norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, tokens)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, T, F) to log-probabilities (B, T', V) and the lengths."""
        x, lengths, _ = self.front(features, lengths)
        on_cpu = lengths.cpu()
        for norm, layer in zip(self.norms, self.layers, strict=True):
            packed = pack_padded_sequence(norm(x), on_cpu, batch_first=True, enforce_sorted=False)
            y, _ = pad_packed_sequence(layer(packed)[0], batch_first=True)
            y = self.dropout(y)
            x = x + y if x.shape == y.shape else y
        return torch.log_softmax(self.output(self.last_norm(x)), dim=2), lengths


def seconds(call: Callable[[], object], place: torch.device) -> float:
    """Return the time of one call, until the device has done it."""
    if place.type == "cuda":
        torch.cuda.synchronize(place)
    begin = time.perf_counter()
    call()
    if place.type == "cuda":
        torch.cuda.synchronize(place)
    return time.perf_counter() - begin


def batches(corpus: str, batch_seconds: int, features: int, tokens: int) -> list[Batch]:
    """Return random features and tokens, of lengths like the corpus's, in batches as training makes them."""
    deciles, rate = CORPORA[corpus]
    random = np.random.default_rng(1)
    durations = np.interp(random.random(UTTERANCES), np.linspace(0, 1, len(deciles)), deciles)
    frames = 1 + (durations * 100).astype(np.int32)
    made = []
    for indices in batching.plan(frames, batch_seconds * 100, random):
        parts = [random.normal(size=(int(frames[index]), features)).astype(np.float32) for index in indices]
        counts = (durations[indices] * rate).astype(int)
        made.append(pad(parts, [random.integers(1, tokens, count).astype(np.int32) for count in counts]))
    return made


def check_same(ours: Model, theirs: Packed, batch: Batch, place: torch.device) -> None:
    """Copy the weights and assert that both networks give the same log-probabilities."""
    weights = {name.replace(".recurrence.", "."): value for name, value in ours.state_dict().items()}
    theirs.load_state_dict(weights)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    ours.to(place).eval()
    theirs.to(place).eval()
    batch = batch.to(place)
    with torch.no_grad():
        one, (other, lengths) = (
            ours(batch.features, batch.feature_lengths),
            theirs(batch.features, batch.feature_lengths),
        )
    assert torch.equal(one.lengths, lengths)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(one.log_probs[row, :length], other[row, :length], rtol=0, atol=1e-4)
    assert sum(map(Tensor.numel, ours.parameters())) == sum(map(Tensor.numel, theirs.parameters()))
    ours.train()
    theirs.train()


def usual_step(
    network: Packed, optimiser: torch.optim.Optimizer, batch: Batch, clip: float, place: torch.device
) -> float:
    """Train on a batch as most programs do and return the loss."""
    batch = batch.to(place)
    optimiser.zero_grad(set_to_none=True)
    log_probs, lengths = network(batch.features, batch.feature_lengths)
    targets, target_lengths = batch.targets.to(place), batch.target_lengths.to(place)
    loss = functional.ctc_loss(
        log_probs.transpose(0, 1), targets, lengths, target_lengths, reduction="sum", zero_infinity=True
    ) / len(target_lengths)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), clip)
    optimiser.step()
    return float(loss.detach())


def step_times(engine: Engine, theirs: Packed, data: list[Batch]) -> list[tuple[float, float]]:
    """Return the seconds of a step of ours and of theirs on each of the batches but the first ones."""
    how, place = engine.recipe.training, engine.device
    optimiser = torch.optim.AdamW(theirs.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay)
    pairs = []
    for number, batch in enumerate(data):
        calls: tuple[Callable[[], object], ...] = (
            partial(engine.step, StepBatches([batch], len(batch.target_lengths)), how.learning_rate),
            partial(usual_step, theirs, optimiser, batch, how.clip, place),
        )
        # Who comes second finds the batch in the processor's cache; they take turns.
        times = {which: seconds(calls[which], place) for which in ((0, 1) if number % 2 else (1, 0))}
        pairs.append((times[0], times[1]))
    return pairs[WARM:]


def measure_steps(recipe: Recipe, place: torch.device, rounds: int) -> None:
    """Print the ratios of whole steps, no batch seen twice."""
    settings = checkpoint.ModelFileSettings(recipe.features, recipe.text, recipe.model)
    features, tokens = recipe.features.dimension, len(settings.alphabet)
    every: list[float] = []
    for corpus in CORPORA:
        for batch_seconds in BATCH_SECONDS:
            torch.manual_seed(1)
            data = batches(corpus, batch_seconds, features, tokens)[: WARM + rounds]
            ours, theirs = network.build(settings), Packed(features, tokens, recipe.model)
            check_same(ours, theirs, data[-1], place)
            pairs = step_times(Engine(recipe, ours, World(place)), theirs, data)
            own, usual = 1000 * np.median(pairs, axis=0)
            ratios = [other / one for one, other in pairs]
            every += ratios
            print(f"{corpus}, {batch_seconds} s: {own:.0f} ms, packed {usual:.0f} ms, {len(pairs)} batches")
            print(f"RATIO step_vs_packed_{corpus}_{batch_seconds}s {np.median(ratios):.2f}", flush=True)
    print(f"RATIO step_vs_packed {np.median(every):.2f}")


def measure_precision(recipe: Recipe, place: torch.device, rounds: int) -> None:
    """Print how many times as fast a whole step is in bfloat16 as in float32, by turns on the same batches."""
    settings = checkpoint.ModelFileSettings(recipe.features, recipe.text, recipe.model)
    how = recipe.training
    for corpus in CORPORA:
        data = batches(corpus, BATCH_SECONDS[-1], recipe.features.dimension, len(settings.alphabet))[: WARM + rounds]
        engines = []
        for precision in ("float32", "bfloat16"):
            one = dataclasses.replace(recipe, training=dataclasses.replace(how, precision=precision))
            torch.manual_seed(1)
            engines.append(Engine(one, network.build(settings), World(place)))
        ratios = []
        for batch in data:
            share = StepBatches([batch], len(batch.target_lengths))
            full, half = (seconds(partial(one.step, share, how.learning_rate), place) for one in engines)
            ratios.append(full / half)
        print(f"RATIO bfloat16_vs_float32_{corpus} {np.median(ratios[WARM:]):.2f}", flush=True)


def measure_rate(recipe: Recipe, place: torch.device, rounds: int) -> None:
    """Print how many hours of audio a second whole steps of the recipe take, on batches of random features."""
    settings = checkpoint.ModelFileSettings(recipe.features, recipe.text, recipe.model)
    own = 60.0 if recipe.training.batch_seconds == AUTO else float(recipe.training.batch_seconds)
    for batch_seconds in (round(own), round(2 * own)):
        torch.manual_seed(1)
        engine = Engine(recipe, network.build(settings), World(place))
        engine.model.train()
        data = batches("librispeech", batch_seconds, recipe.features.dimension, len(settings.alphabet))
        rates = []
        for number in range(WARM + rounds):
            batch = data[number % len(data)]
            share = StepBatches([batch], len(batch.target_lengths))
            took = seconds(partial(engine.step, share, recipe.training.learning_rate), place)
            rates.append(int(batch.feature_lengths.sum()) * recipe.features.hop / 3600 / took)
        print(f"rate, {recipe.name}, {batch_seconds} s a batch: {np.median(rates[WARM:]):.3f} hours of audio a second")


def measure_layer(place: torch.device, rounds: int) -> None:
    """Print the ratios of the arithmetic rates of one bidirectional LSTM layer and of a plain matrix product."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    squares = [torch.randn(size, size, device=place) for size in SQUARES]
    layer = RecurrentLayer(INPUTS, ModelSettings(cell="lstm", hidden=HIDDEN)).to(place)
    usual = layer.recurrence
    for batch in BATCHES:
        x = torch.randn(batch, FRAMES, INPUTS, device=place, requires_grad=True)
        on_cpu = torch.full((batch,), FRAMES)
        lengths = on_cpu.to(place)
        gradient = torch.randn(batch, FRAMES, 2 * HIDDEN, device=place)

        def ours(x: Tensor = x, on_cpu: Tensor = on_cpu, lengths: Tensor = lengths, up: Tensor = gradient) -> None:
            # What the model does on this device.
            if place.type == "cuda":
                packing = pack_padded_sequence(x, on_cpu, True, enforce_sorted=False)
                y, _ = pad_packed_sequence(packing._replace(data=layer.packed(packing)[0]), batch_first=True)
            else:
                y, _ = layer(x, lengths)
            y.backward(up)  # type: ignore[no-untyped-call]

        def packed(x: Tensor = x, on_cpu: Tensor = on_cpu, up: Tensor = gradient) -> None:
            y, _ = usual(pack_padded_sequence(x, on_cpu, batch_first=True, enforce_sorted=False))
            pad_packed_sequence(y, batch_first=True)[0].backward(up)  # type: ignore[no-untyped-call]

        # Forward once, backward twice: by the input and by the weights.
        work = 3 * 2 * batch * FRAMES * (INPUTS + HIDDEN) * 4 * HIDDEN * 2 / 1e9
        found = []
        for _ in range(WARM + rounds):
            product = max(2 * len(one) ** 3 / 1e9 / seconds(partial(torch.matmul, one, one), place) for one in squares)
            found.append((work / seconds(ours, place), work / seconds(packed, place), product))
        own, other, product = np.median(found[WARM:], axis=0)
        ratio = np.median([one / best for one, _, best in found[WARM:]])
        print(f"layer, batch {batch}: {own:.0f} GFLOP/s, packed {other:.0f}, matrix product {product:.0f}")
        print(f"RATIO lstm_vs_matmul{'' if batch == BATCHES[0] else f'_batch_{batch}'} {ratio:.2f}")


class Recorder:
    """Keeps the steps of an epoch and, at its end, does them again and nothing else."""

    def __init__(self, place: torch.device) -> None:
        self.place = place
        self.steps: list[tuple[Engine, StepBatches, float]] = []
        self.rows: list[tuple[Epoch, float]] = []
        self._step = Engine.step

    def step(self, engine: Engine, share: StepBatches, learning_rate: float, stop: bool = False) -> StepResult:
        """Take the place of Engine.step."""
        self.steps.append((engine, share, learning_rate))
        return self._step(engine, share, learning_rate, stop)

    def report(self, event: Event) -> None:
        """Time the bare steps of the epoch that has ended."""
        if not isinstance(event, Epoch):
            return
        self.steps[0][0].model.train()
        bare = 0.0
        for engine, share, learning_rate in self.steps:
            bare += seconds(partial(self._step, engine, share, learning_rate), self.place)
        self.rows.append((event, bare))
        self.steps = []


def measure_epoch(recipe: Recipe, place: torch.device, source: str | None) -> None:
    """Print the ratios of whole epochs, features cached, all masks in use and the validation included."""
    recipe = dataclasses.replace(
        recipe,
        augment=dataclasses.replace(recipe.augment, mask_start=1.0),
        training=dataclasses.replace(recipe.training, epochs=EPOCHS, device=place.type, clean_epochs=0, average=0),
    )
    recorder = Recorder(place)
    with tempfile.TemporaryDirectory() as folder:
        train, dev = Path(folder) / "train.jsonl", Path(folder) / "dev.jsonl"
        if source:
            rows = manifest.read(source)
            manifest.write(train, (row for number, row in enumerate(rows) if number % 20))
            manifest.write(dev, rows[::20])
        else:
            manifest.write(train, librispeech.read("data/digits", "train"))
            manifest.write(dev, librispeech.read("data/digits", "dev"))
        # A plain function becomes a method, so that it is given the engine.
        Engine.step = lambda *given: recorder.step(*given)  # type: ignore[method-assign] # noqa: PLW0108
        training.train(recipe, train, dev, Path(folder) / "run", TrainOptions(on_event=recorder.report))
    # In the first epoch the device and its libraries warm up.
    warm = recorder.rows[1:]
    last = warm[-1][0]
    for row, bare in warm:
        print(f"epoch {row.epoch}: {row.seconds:.2f} s for {row.audio_hours:.2f} hours, its bare steps {bare:.2f} s")
    print(f"RATIO epoch_vs_bare_steps {np.median([bare / row.seconds for row, bare in warm]):.3f}")
    print(f"RATIO training_vs_real_time {np.median([3600 * row.audio_hours / row.seconds for row, _ in warm]):.0f}")
    print(f"RATIO data_wait_share {last.data_wait:.3f}")


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", nargs="?", default="recipes/an4/recipe.toml")
    parser.add_argument("manifest", nargs="?")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--parts", default="step,precision,layer,epoch")
    given = parser.parse_args()
    place = device.choose_device(given.device)
    device.keep_freed_memory()
    recipe = config.read(given.recipe, Recipe)
    print(f"{place}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    if "step" in given.parts.split(","):
        measure_steps(recipe, place, given.rounds)
    if "precision" in given.parts.split(","):
        measure_precision(recipe, place, given.rounds)
    if "rate" in given.parts.split(","):
        measure_rate(recipe, place, given.rounds)
    if "layer" in given.parts.split(","):
        measure_layer(place, given.rounds)
    if "epoch" in given.parts.split(","):
        measure_epoch(recipe, place, given.manifest)


if __name__ == "__main__":
    main()
