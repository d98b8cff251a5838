"""The front end as an ONNX graph: waveforms (B, samples) with lengths -> features (B, T, F) with lengths.

The values are those of `asr.features.frontend`. The Fourier transform is a product with sines and cosines: the STFT of
onnxruntime and products in single precision are ten times less exact than NumPy's transform. The cosine transform and
sums over frames are in double precision too, as in `asr.features`.
"""

from collections.abc import Sequence

import numpy as np

from asr.export.graph import DOUBLE, FLOAT, INT64, Graph
from asr.features import FeatureSettings, Matrices
from asr.features.frontend import DELTA_CONTEXT, slopes
from asr.features.normalisation import (
    AROUND,
    BLOCK,
    FALL,
    FIRST_LEVEL,
    KEPT,
    RISE,
    SHORTEST,
    SPEECH_RANGE,
    median_width,
    peak_bands,
    prior_sums,
    spectrum,
)

_LEAST, _MOST = float(np.finfo(np.float32).min), float(np.finfo(np.float32).max)


class FeatureGraph:
    """Adds the front end to a graph."""

    def __init__(self, graph: Graph, settings: FeatureSettings, matrices: Matrices) -> None:
        self._graph, self._settings, self._matrices = graph, settings, matrices

    def whole(self, waveform: str, lengths: str) -> tuple[str, str]:
        """Add the features (B, T, F) of whole waveforms (B, samples) with lengths (B,); return the lengths T too."""
        graph, settings = self._graph, self._settings
        inside = graph.node("Less", graph.range(graph.size(waveform, 1)), graph.unsqueeze(lengths, 1))
        waveform = graph.node("Where", inside, waveform, graph.number(0))
        half = settings.fft_length // 2
        decibels = self._decibels(graph.node("Pad", waveform, graph.ints(0, half, 0, half)))
        hops = graph.node("Div", lengths, graph.integer(settings.hop_length))
        lengths = graph.node("Add", hops, graph.integer(1))
        steps = graph.range(graph.size(decibels, 1))
        valid = graph.node("Less", steps, graph.unsqueeze(lengths, 1))
        frames = self._coefficients(decibels, self._level(decibels, lengths, valid))
        if settings.deltas:
            frames = self._with_deltas(frames, steps, lengths)
        if settings.normalisation == "speech":
            frames = self._speech_normalised(frames, steps, valid)
        elif settings.normalisation == "running":
            zeros = [self._zeros(frames, size) for size in self._running_state().values()]
            frames, _ = self._running_normalised(frames, zeros)
        elif settings.normalisation == "utterance":
            frames = self._utterance_normalised(frames, lengths, valid)
        else:
            frames = self._corpus_normalised(frames)
        return frames, lengths

    def windows(self, samples: str) -> str:
        """Add the features (1, T, F) of the complete windows of a stream's next samples (1, samples)."""
        frames = self._coefficients(self._decibels(samples), None)
        if self._settings.normalisation != "running":
            return self._corpus_normalised(frames)
        sizes = self._running_state()
        states = [self._graph.input(name, DOUBLE, (1, size)) for name, size in sizes.items()]
        frames, states = self._running_normalised(frames, states)
        for (name, size), state in zip(sizes.items(), states, strict=True):
            self._graph.output(f"next_{name}", state, DOUBLE, (1, size))
        return frames

    def _decibels(self, samples: str) -> str:
        """Return the energies (B, T, mel_bands) in dB of each complete window in samples (B, n)."""
        graph, settings = self._graph, self._settings
        length, size = settings.window_length, settings.fft_length
        window = np.hanning(length + 1)[:-1]
        # The position of the window within the samples of the transform changes no power.
        angles = 2 * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(length)) / size
        first = (size - length) // 2
        count = graph.node("Sub", graph.size(samples, 1), graph.integer(size - settings.hop_length))
        count = graph.node("Div", count, graph.integer(settings.hop_length))
        starts = graph.node("Mul", graph.range(count), graph.integer(settings.hop_length))
        index = graph.node("Add", graph.unsqueeze(starts, 1), graph.tensor(first + np.arange(length)))
        windows = graph.cast(graph.node("Gather", samples, index, axis=1), DOUBLE)
        powers = []
        for waves in (np.cos(angles), np.sin(angles)):
            values = graph.node("MatMul", windows, graph.tensor((waves * window).T))
            powers.append(graph.node("Mul", values, values))
        power = graph.cast(graph.node("Add", *powers), FLOAT)
        energies = graph.node("MatMul", power, graph.tensor(self._matrices.mel.T))
        energies = graph.node("Max", energies, graph.number(settings.power_floor))
        return graph.node("Mul", graph.node("Log", energies), graph.number(10 / np.log(10)))

    def _level(self, decibels: str, lengths: str, valid: str) -> str | None:
        """Return the level (B, 1, 1) that energies are relative to, or None if it is not used."""
        graph, settings = self._graph, self._settings
        if settings.normalisation != "speech" and not settings.top_db:
            return None
        bands = peak_bands(settings)
        part = graph.node("Slice", decibels, graph.ints(bands.start), graph.ints(bands.stop), graph.ints(2))
        peaks = graph.node("ReduceMax", part, axes=[2], keepdims=0)
        if settings.normalisation == "speech":
            peaks, valid = self._medians(peaks, lengths)
        peaks = graph.node("Where", valid, peaks, graph.number(_LEAST))
        return graph.unsqueeze(graph.node("ReduceMax", peaks, axes=[1], keepdims=1), 2)

    def _medians(self, peaks: str, lengths: str) -> tuple[str, str]:
        """Return the running median of peaks (B, T), shorter in a short recording, and which are complete."""
        graph, widest = self._graph, median_width(self._settings, 10**9)
        # As `median_width`: an odd number of frames.
        width = graph.node("Min", graph.unsqueeze(lengths, 1), graph.integer(widest))
        even = graph.node("Mod", graph.node("Add", width, graph.integer(1)), graph.integer(2))
        width = graph.node("Sub", width, even)
        count = graph.size(peaks, 1)
        offsets = graph.range(graph.integer(widest))
        index = graph.node("Add", graph.unsqueeze(graph.range(count), 1), offsets)
        index = graph.node("Min", index, graph.node("Sub", count, graph.integer(1)))
        windows = graph.node("Gather", peaks, index, axis=1)
        inside = graph.unsqueeze(graph.node("Less", offsets, width), 1)
        windows = graph.node("Where", inside, windows, graph.number(_MOST))
        ordered, _ = graph.nodes("TopK", [windows, graph.ints(widest)], 2, axis=2, largest=0)
        middle = graph.node("Div", width, graph.integer(2))
        # One position for each window (B, T, 1).
        shape = graph.node("Concat", graph.node("Shape", peaks), graph.ints(1), axis=0)
        middle = graph.node("Expand", graph.unsqueeze(middle, 2), shape)
        medians = graph.node("Squeeze", graph.node("GatherElements", ordered, middle, axis=2), graph.ints(2))
        last = graph.node("Sub", graph.unsqueeze(lengths, 1), width)
        return medians, graph.node("LessOrEqual", graph.range(count), last)

    def _coefficients(self, decibels: str, level: str | None) -> str:
        """Return the coefficients (B, T, coefficients), not normalised."""
        graph, settings = self._graph, self._settings
        if level is not None:
            if settings.normalisation == "speech":
                decibels, level = graph.node("Sub", decibels, level), graph.number(0)
            if settings.top_db:
                least = graph.node("Sub", level, graph.number(settings.top_db))
                decibels = graph.node("Max", decibels, least)
        dct = graph.tensor(self._matrices.dct.T.astype(np.float64))
        return graph.cast(graph.node("MatMul", graph.cast(decibels, DOUBLE), dct), FLOAT)

    def _with_deltas(self, frames: str, steps: str, lengths: str) -> str:
        graph = self._graph
        offsets = graph.tensor(np.arange(-DELTA_CONTEXT, DELTA_CONTEXT + 1))
        index = graph.node("Max", graph.node("Add", graph.unsqueeze(steps, 1), offsets), graph.integer(0))
        last = graph.node("Sub", graph.unsqueeze(lengths, 1, 2), graph.integer(1))
        # The edges of each recording are repeated: (B, T, width).
        index = graph.unsqueeze(graph.node("Min", index, last), 3)
        windows = graph.node("GatherND", frames, index, batch_dims=1)
        parts = [frames]
        for order in range(1, self._settings.deltas + 1):
            weighted = graph.node("Mul", windows, graph.tensor(slopes(order)[:, None]))
            parts.append(graph.node("ReduceSum", weighted, graph.ints(2), keepdims=0))
        return graph.node("Concat", *parts, axis=2)

    def _corpus_normalised(self, frames: str) -> str:
        graph, settings = self._graph, self._settings
        if settings.normalisation != "corpus" or not settings.mean:
            return frames
        mean, scale = (graph.tensor(np.array(part, np.float32)) for part in (settings.mean, settings.scale))
        return graph.node("Div", graph.node("Sub", frames, mean), scale)

    def _running_state(self) -> dict[str, int]:
        """Return the size of each part of the state: how it differs from that before the first frame."""
        return {"loudness": SHORTEST - 1, "level": 1, "sums": 1 + 2 * self._settings.dimension}

    def _zeros(self, frames: str, size: int) -> str:
        """Return zeros (B, size)."""
        graph = self._graph
        batch = graph.unsqueeze(graph.size(frames, 0), 0)
        return graph.node(
            "Expand", graph.tensor(np.zeros((1, size))), graph.node("Concat", batch, graph.ints(size), axis=0)
        )

    def _loudness(self, frames: str) -> str:
        """Return the highest energy in dB of the smooth spectrum of each frame, (B, T), as in `normalisation`."""
        graph, settings = self._graph, self._settings
        part = graph.node("Slice", frames, graph.ints(0), graph.ints(settings.coefficients), graph.ints(2))
        levels = graph.node("MatMul", graph.cast(part, DOUBLE), graph.tensor(spectrum(settings)))
        return graph.cast(graph.node("ReduceMax", levels, axes=[2], keepdims=0), FLOAT)

    def _running_normalised(self, frames: str, states: Sequence[str]) -> tuple[str, list[str]]:
        """Normalise by the speech so far, as `CausalNormalisation` does; return the next state too."""
        graph = self._graph
        loudness = graph.cast(self._loudness(frames), DOUBLE)
        loudness = graph.node("Sub", loudness, graph.tensor(np.array(FIRST_LEVEL)))
        recent = graph.node("Concat", states[0], loudness, axis=1)
        count = graph.size(frames, 1)
        ends = [graph.unsqueeze(graph.node("Add", count, graph.integer(index)), 0) for index in range(SHORTEST)]
        lasting = graph.node(
            "Min",
            *(graph.node("Slice", recent, graph.ints(index), end, graph.ints(1)) for index, end in enumerate(ends)),
        )
        following = graph.node("Slice", recent, graph.ints(1 - SHORTEST), graph.ints(2**31 - 1), graph.ints(1))
        # The scan is over the first axis: (T, B, 1) and (T, B, F).
        columns = [graph.unsqueeze(graph.node("Transpose", row, perm=[1, 0]), 2) for row in (lasting, loudness)]
        rows = graph.node("Transpose", graph.cast(frames, DOUBLE), perm=[1, 0, 2])
        level, sums, mean, scale = graph.scan(self._running_step(), states[1:], [*columns, rows])
        mean, scale = (graph.node("Transpose", part, perm=[1, 0, 2]) for part in (mean, scale))
        return self._scaled(frames, mean, scale), [following, level, sums]

    def _running_step(self) -> Graph:
        """Return the graph of one frame: level (B, 1) and sums (B, 1 + 2 F), loudness twice, frame -> mean, scale."""
        settings, step = self._settings, Graph()
        size = settings.dimension
        sizes = {"level": 1, "sums": 1 + 2 * size, "lasting": 1, "loudness": 1, "frame": size}
        level, sums, lasting, loudness, frame = (
            step.input(*entry) for entry in ((n, DOUBLE, ("batch", s)) for n, s in sizes.items())
        )

        def number(value: float) -> str:
            return step.tensor(np.array(value))

        raised = step.node("Max", lasting, step.node("Sub", level, number(FALL)))
        rise = step.node("Max", step.node("Sub", raised, level), number(0.0))
        factor = step.node("Mul", step.node("Exp", step.node("Mul", rise, number(-np.log(10) / RISE))), number(KEPT))
        speech = step.node("Greater", loudness, step.node("Sub", raised, number(SPEECH_RANGE)))
        shift = np.eye(1, size) * np.sqrt(settings.mel_bands)
        shift_of = step.node("Mul", step.node("Add", raised, number(FIRST_LEVEL)), step.tensor(shift))
        row = step.node("Sub", frame, shift_of)
        one = step.node("Add", step.node("Mul", level, number(0.0)), number(1.0))
        term = step.node("Concat", one, row, step.node("Mul", row, row), axis=1)
        prior = step.tensor(prior_sums(settings)[None])
        before = step.node("Add", sums, prior)
        after = step.node("Add", step.node("Mul", before, factor), term)
        total = step.node("Where", speech, after, before)
        parts = step.nodes("Split", [total, step.ints(1, size, size)], 3, axis=1)
        mean, square = (step.node("Div", part, parts[0]) for part in parts[1:])
        variance = step.node("Sub", square, step.node("Mul", mean, mean))
        scale = step.node("Sqrt", step.node("Max", variance, number(1e-6)))
        step.output("level_after", raised, DOUBLE, ("batch", 1))
        step.output("sums_after", step.node("Sub", total, prior), DOUBLE, ("batch", 1 + 2 * size))
        step.output("mean", step.node("Add", mean, shift_of), DOUBLE, ("batch", size))
        step.output("scale", scale, DOUBLE, ("batch", size))
        return step

    def _utterance_normalised(self, frames: str, lengths: str, valid: str) -> str:
        graph = self._graph
        count = graph.unsqueeze(graph.cast(lengths, DOUBLE), 1, 2)
        zero, valid = graph.tensor(np.zeros(())), graph.unsqueeze(valid, 2)

        def mean_of(values: str) -> str:
            values = graph.node("Where", valid, values, zero)
            return graph.node("Div", graph.node("ReduceSum", values, graph.ints(1), keepdims=1), count)

        rows = graph.cast(frames, DOUBLE)
        mean = mean_of(rows)
        centred = graph.node("Sub", rows, mean)
        deviation = graph.node("Sqrt", mean_of(graph.node("Mul", centred, centred)))
        scale = graph.node("Max", deviation, graph.tensor(np.array(1e-3)))
        return self._scaled(frames, mean, scale)

    def _speech_normalised(self, frames: str, steps: str, valid: str) -> str:
        """Normalise by the speech in a running window, as `RunningStatistics` does."""
        graph = self._graph
        count = graph.size(frames, 1)
        loud = graph.node("Greater", self._loudness(frames), graph.number(-SPEECH_RANGE))
        speech = graph.node("And", loud, valid)
        ones = graph.cast(speech, INT64)
        before = graph.node("Sub", graph.node("CumSum", ones, graph.integer(1)), ones)
        total = graph.node("ReduceSum", ones, graph.ints(1), keepdims=1)
        # The position of each frame of speech (B, T + 1); behind the last one, T.
        shape = graph.node("Add", graph.node("Shape", ones), graph.ints(0, 1))
        empty = graph.node("Expand", count, shape)
        slots = graph.node("Where", speech, before, count)
        positions = graph.node("ScatterElements", empty, slots, graph.node("Where", speech, steps, count), axis=1)
        # Blocks of speech, and the first and the end of those in the window.
        blocks = graph.node("Div", graph.node("Add", total, graph.integer(BLOCK - 1)), graph.integer(BLOCK))
        block = graph.node(
            "Min", graph.node("Div", before, graph.integer(BLOCK)), graph.node("Sub", blocks, graph.integer(1))
        )
        latest = graph.node("Max", graph.node("Sub", blocks, graph.integer(2 * AROUND + 1)), graph.integer(0))
        first = graph.node("Max", graph.node("Sub", block, graph.integer(AROUND)), graph.integer(0))
        first = graph.node("Min", first, latest)
        end = graph.node("Min", graph.node("Add", first, graph.integer(2 * AROUND + 1)), blocks)
        first = graph.node("Mul", first, graph.integer(BLOCK))
        end = graph.node("Min", graph.node("Mul", end, graph.integer(BLOCK)), total)
        frames_of = graph.node("Max", graph.node("Sub", end, first), graph.integer(1))
        divisor = graph.unsqueeze(graph.cast(frames_of, DOUBLE), 2)
        ends = [graph.unsqueeze(graph.node("GatherElements", positions, part, axis=1), 2) for part in (first, end)]
        rows = graph.node("Where", graph.unsqueeze(speech, 2), graph.cast(frames, DOUBLE), graph.tensor(np.zeros(())))

        def mean_of(values: str) -> str:
            sums = graph.node("Pad", graph.node("CumSum", values, graph.integer(1)), graph.ints(0, 1, 0, 0, 0, 0))
            low, high = (graph.node("GatherND", sums, index, batch_dims=1) for index in ends)
            return graph.node("Div", graph.node("Sub", high, low), divisor)

        mean = mean_of(rows)
        square = mean_of(graph.node("Mul", rows, rows))
        variance = graph.node("Sub", square, graph.node("Mul", mean, mean))
        scale = graph.node("Sqrt", graph.node("Max", variance, graph.tensor(np.array(1e-6))))
        spoken = graph.unsqueeze(graph.node("Greater", total, graph.integer(0)), 2)
        return self._scaled(frames, mean, graph.node("Where", spoken, scale, graph.tensor(np.ones(()))))

    def _scaled(self, frames: str, mean: str, scale: str) -> str:
        graph = self._graph
        return graph.node("Div", graph.node("Sub", frames, graph.cast(mean, FLOAT)), graph.cast(scale, FLOAT))
