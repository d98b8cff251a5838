"""Mistakes of users: each ends in one line on stderr and an exit code, without a traceback."""

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import soundfile
import torch

from asr.cli import main
from asr.lm import recurrent as rnnlm
from asr.lm.recurrent.network import build
from asr.text import TextSettings
from tests.conftest import SAMPLE_RATE, spell


@dataclass(frozen=True)
class Place:
    """Where a mistake is made: an empty folder, the tones' folder and a trained model."""

    folder: Path
    tones: Path
    model: Path

    def file(self, name: str, content: str | bytes = "") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        return path

    def wav(self, name: str, samples: object, rate: int = SAMPLE_RATE, subtype: str = "FLOAT") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.asarray(samples, np.float32), rate, subtype=subtype)
        return path

    def row(self, **changes: object) -> Path:
        audio = self.wav("good.wav", spell("AB"))
        duration = len(spell("AB")) / SAMPLE_RATE
        row = {"id": "good", "audio": str(audio), "duration": duration, "text": "AB"} | changes
        return self.file("rows.jsonl", json.dumps(row) + "\n")

    def transcribe(self, path: object) -> list[str]:
        return ["transcribe", str(path), "--model", str(self.model)]

    def transcribe_list(self, path: object) -> list[str]:
        return ["transcribe", "--list", str(path), "--model", str(self.model)]

    def sound(self, *more: str) -> list[str]:
        return [*self.transcribe(self.wav("a.wav", spell("AB"))), *more]

    def align(self, *arguments: object) -> list[str]:
        return ["align", *map(str, arguments), "--model", str(self.model), "--quiet"]

    def out(self, name: str) -> list[str]:
        return ["--out", str(self.folder / name)]

    def arpa(self) -> Path:
        grams = "-1 <unk>\n-99 <s>\n-1 </s>\n-1 A"
        return self.file("lm.arpa", f"\\data\\\nngram 1=4\n\n\\1-grams:\n{grams}\n\n\\end\\\n")

    def words(self) -> Path:
        shape = rnnlm.RnnLmSettings(hidden=3, embedding=4)
        settings = rnnlm.LmFileSettings(TextSettings("none", "AB"), shape, "word", ("A",))
        path = self.folder / "words.safetensors"
        rnnlm.save(path, build(settings), settings, {})
        return path

    def train(self, *more: str, recipe: str | None = None, train: Path | None = None) -> list[str]:
        path = self.tones / "tiny.toml" if recipe is None else self.file("recipe.toml", recipe)
        manifest = train or self.tones / "train.jsonl"
        dev, out = self.tones / "dev.jsonl", self.folder / "out"
        return ["train", str(path), "--train", str(manifest), "--dev", str(dev), "--out", str(out), "--quiet", *more]

    def evaluate(self, manifest: object) -> list[str]:
        return ["evaluate", str(manifest), "--model", str(self.model), "--quiet"]

    def table(self, content: str | bytes, name: str = "table.csv") -> list[str]:
        self.wav("a.wav", spell("A"))
        return ["prepare", "table", str(self.file(name, content)), "--out", str(self.folder / "out"), "--quiet"]

    def librispeech(self, lines: str, *sounds: str) -> list[str]:
        for sound in sounds:
            self.wav(f"LibriSpeech/dev-clean/1/2/{sound}.wav", spell("A"))
        self.file("LibriSpeech/dev-clean/1/2/1-2.trans.txt", lines)
        return ["prepare", "librispeech", str(self.folder), "dev-clean", "--out", str(self.folder / "out"), "--quiet"]

    def lm_train(self, *more: str, text: str | bytes = "AB\n", out: str = "lm.arpa") -> list[str]:
        path = self.file("text.txt", text)
        return ["lm", "train", str(path), "--out", str(self.folder / out), "--quiet", *more]

    def rnn_train(self, *more: str, text: str | bytes = "AB\n") -> list[str]:
        return self.lm_train("--kind", "rnn", *more, text=text, out="lm.safetensors")

    def perplexity(self, model: object, text: str | bytes = "AB\n", *more: str) -> list[str]:
        return ["lm", "perplexity", str(model), str(self.file("text.txt", text)), "--quiet", *more]

    def score(self, hypotheses: str | bytes, *more: str, references: str = "u1 A\n", name: str = "h.txt") -> list[str]:
        return ["score", str(self.file("r.txt", references)), str(self.file(name, hypotheses)), *more]

    def damaged(self, **metadata: str) -> list[str]:
        tensors = safetensors.torch.load_file(self.model)
        with safetensors.safe_open(self.model, framework="pt") as file:
            kept = dict(file.metadata())
        safetensors.torch.save_file(tensors, self.folder / "m.safetensors", kept | metadata)
        return ["inspect", str(self.folder / "m.safetensors")]


@dataclass(frozen=True)
class Mistake:
    """What is typed, its exit code, and what its line says."""

    name: str
    arguments: Callable[[Place], list[str]]
    code: int
    says: str


def truncated_wav(place: Place) -> list[str]:
    whole = place.wav("whole.wav", spell("ABC"), subtype="PCM_16").read_bytes()
    return [*place.transcribe(place.file("cut.wav", whole[: len(whole) // 2])), "--strict"]


def truncated_flac(place: Place) -> list[str]:
    soundfile.write(place.folder / "whole.flac", spell("ABC"), SAMPLE_RATE)
    whole = (place.folder / "whole.flac").read_bytes()
    return [*place.transcribe(place.file("cut.flac", whole[: len(whole) // 2])), "--strict"]


def dashed(place: Place) -> list[str]:
    os.chdir(place.folder)
    return place.transcribe(place.wav("-x.wav", spell("A")).name)


def truncated_model(place: Place) -> list[str]:
    whole = place.model.read_bytes()
    return ["inspect", str(place.file("cut.safetensors", whole[: len(whole) // 2]))]


def foreign_model(place: Place) -> list[str]:
    safetensors.torch.save_file({"x": torch.zeros(1)}, place.folder / "foreign.safetensors")
    return ["inspect", str(place.folder / "foreign.safetensors")]


def pickled_model(place: Place) -> list[str]:
    torch.save({"x": torch.zeros(1)}, place.folder / "model.pt")
    return ["inspect", str(place.folder / "model.pt")]


def run_again(place: Place) -> list[str]:
    shutil.copytree(place.model.parent, place.folder / "out")
    return place.train("--seed", "9")


def over_a_model(place: Place) -> list[str]:
    (place.folder / "out").mkdir()
    shutil.copy(place.model, place.folder / "out")
    return place.train()


def own_manifest(place: Place) -> list[str]:
    copy = place.file("out/train.jsonl", (place.tones / "train.jsonl").read_text())
    return place.train(train=copy)


def with_report(place: Place) -> list[str]:
    return [*place.evaluate(place.row()), "--json", str(place.folder / "good.wav" / "report.json")]


def two_of_one(place: Place) -> list[str]:
    place.wav("in/a.wav", spell("A"))
    place.file("in/a.flac")
    return [*place.transcribe(place.folder / "in"), *place.out("o")]


def over_a_text(place: Place) -> list[str]:
    place.file("a.txt", "the true words")
    return place.sound("--out", str(place.folder))


def over_itself(place: Place) -> list[str]:
    path = place.wav("b.wav", spell("A")).rename(place.folder / "a.txt")
    return [*place.transcribe(path), "--out", str(place.folder), "--force"]


def arpa(place: Place) -> Path:
    header = "\\data\\\nngram 1=3\n\n\\1-grams:\n-1\t<s>\n-1\t</s>\n-1\tAB\n\n\\end\\\n"
    return place.file("lm.arpa", header)


def with_row(**changes: object) -> Callable[[Place], list[str]]:
    return lambda place: place.evaluate(place.row(**changes))


def with_lines(content: str | bytes) -> Callable[[Place], list[str]]:
    return lambda place: place.evaluate(place.file("rows.jsonl", content))


def with_recipe(recipe: str) -> Callable[[Place], list[str]]:
    return lambda place: place.train(recipe=recipe)


def with_set(assignment: str) -> Callable[[Place], list[str]]:
    return lambda place: place.train("--set", assignment)


def with_grid(grid: str, *more: str) -> Callable[[Place], list[str]]:
    return lambda place: place.train("--grid", str(place.file("grid.toml", grid)), *more)


def features_for_audio(place: Place) -> list[str]:
    np.save(place.folder / "a.npy", np.zeros((9, 3), np.float32))
    row = {"id": "a", "features": "a.npy", "duration": 1.0, "text": "A"}
    return place.evaluate(place.file("rows.jsonl", json.dumps(row)))


def with_samples(samples: object, rate: int = SAMPLE_RATE) -> Callable[[Place], list[str]]:
    return lambda place: place.transcribe(place.wav("a.wav", samples, rate))


AUDIO = [
    Mistake("missing", lambda place: place.transcribe(place.folder / "no.wav"), 1, r"no\.wav: no such file"),
    Mistake("folder", lambda place: place.transcribe(place.folder), 1, r": no sound file in this folder; names end in"),
    Mistake("empty file", lambda place: place.transcribe(place.file("a.wav")), 1, r"a\.wav: the file is empty"),
    Mistake("text", lambda place: place.transcribe(place.file("a.wav", "hello")), 1, r"a\.wav: not a sound file"),
    Mistake("no samples", with_samples([]), 1, r"a\.wav: 0 samples"),
    Mistake("NaN", with_samples([0.1, float("nan"), 0.1]), 1, r"a\.wav: sample 1 is not a number"),
    Mistake("infinite", with_samples([0.1, 0.1, float("inf")]), 1, r"a\.wav: sample 2 is not a number"),
    Mistake("silence", with_samples(np.zeros(8000)), 1, r"a\.wav: digital silence: all 8000 samples are 0"),
    Mistake("low rate", with_samples([0.1, 0.2], 1), 1, r"a\.wav: 1 Hz; speech needs 2000 to 768000 Hz"),
    Mistake("high rate", with_samples([0.1, 0.2], 4_000_000), 1, r"a\.wav: 4000000 Hz; speech needs"),
    Mistake("truncated wav", truncated_wav, 1, r"cut\.wav: truncated: "),
    Mistake("truncated flac", truncated_flac, 1, r"cut\.flac: (truncated|damaged)"),
]
MANIFEST = [
    Mistake("missing", lambda place: place.evaluate(place.folder / "no.jsonl"), 2, r"no\.jsonl.* does not exist"),
    Mistake("empty", with_lines(""), 1, r"rows\.jsonl: no utterances"),
    Mistake("not JSON", with_lines("\n{oops\n"), 1, r"rows\.jsonl, line 2: not JSON"),
    Mistake("not an object", with_lines("[1]\n"), 1, r"rows\.jsonl, line 1: not a JSON object"),
    Mistake("not UTF-8", with_lines(b'{"id": "\xff"}\n'), 1, r"rows\.jsonl, line 1: not UTF-8"),
    Mistake("no duration", with_lines('{"id": "a", "audio": "a.wav"}\n'), 1, r"line 1: no 'duration'"),
    Mistake("unknown key", with_row(words="x"), 1, r"line 1: unknown key 'words'; known are id, audio"),
    Mistake("text of a number", with_row(text=7), 1, r"line 1: 'text' must be a string, not 7"),
    Mistake("duration of a string", with_row(duration="1"), 1, r"line 1: 'duration' must be a number, not \"1\""),
    Mistake("no time", with_row(duration=0), 1, r"line 1: 'duration' must be more than 0 seconds, not 0"),
    Mistake("negative offset", with_row(offset=-1), 1, r"line 1: 'offset' must be 0 seconds or more"),
    Mistake("white space in an id", with_row(id="a b"), 1, r"line 1: id 'a b' is empty or contains white space"),
    Mistake("offset behind the end", with_row(offset=99.0), 1, r"good\.wav: offset 99 s is not before the end"),
    Mistake("duration behind the end", with_row(duration=99.0), 1, r"good\.wav: segment 0–99 s exceeds the file"),
    Mistake("lost audio", with_row(audio="/no/such.wav"), 1, r"/no/such\.wav: no such file"),
    Mistake("no words", with_row(text="…"), 1, r"the references have no words"),
    Mistake("features and audio", with_row(features="a.npy"), 1, r"line 1: 'audio' and 'features' are both given"),
    Mistake("features for audio", features_for_audio, 1, r"a: .*a\.npy: an array, not a sound file; only models with"),
    Mistake(
        "twice",
        lambda place: place.evaluate(place.file("rows.jsonl", place.row().read_text() * 2)),
        1,
        r"line 2: id 'good' is already in line 1",
    ),
]
SETTINGS = [
    Mistake("not TOML", with_recipe("[model\n"), 2, r"recipe\.toml: not TOML: .*line 1"),
    Mistake("unknown section", with_recipe("[modle]\n"), 2, r"unknown key 'modle'; did you mean 'model'\?"),
    Mistake(
        "unknown key", with_recipe("[model]\nlayer = 2\n"), 2, r"unknown key 'model\.layer'; did you mean 'layers'"
    ),
    Mistake(
        "wrong type", with_recipe("[model]\nlayers = 'two'\n"), 2, r"model\.layers must be a whole number, not 'two'"
    ),
    Mistake("value for a section", with_recipe("model = 3\n"), 2, r"model is a section, \[model\], not a value"),
    Mistake("cell", with_set("model.cell=transformer"), 2, r"\[model\] cell = 'transformer' is not one of rnn-tanh"),
    Mistake("time reduction", with_set("model.time_reduction=5"), 2, r"time_reduction = 5 is not one of 2, 3, 4"),
    Mistake("layers", with_set("model.layers=0"), 2, r"layers = 0 is not between 1 and 32"),
    Mistake("dropout", with_set("model.dropout=1.0"), 2, r"dropout = 1\.0 is neither 0 nor between"),
    Mistake("coefficients", with_set("features.coefficients=300"), 2, r"coefficients = 300 is not between 1 and"),
    Mistake("band edges", with_set("features.low_frequency=9000"), 2, r"0 <= low < high <= 8000 Hz"),
    Mistake("normalisation", with_set("features.normalisation=batch"), 2, r"normalisation = 'batch' is not one of"),
    Mistake("normaliser", with_set("text.normaliser=lower"), 2, r"normaliser = 'lower' is not one of upper, none"),
    Mistake("alphabet", with_set("text.alphabet=ABA"), 2, r"alphabet: 'A' is twice"),
    Mistake("speeds", with_set("augment.speeds=[3.0]"), 2, r"speeds: 3\.0 is not between 0\.5 and 2"),
    Mistake("learning rate", with_set("training.learning_rate=-1"), 2, r"learning_rate = -1\.0 is not more than 0"),
    Mistake("not an assignment", with_set("epochs"), 2, r"--set epochs: not of the form section\.key=value"),
    Mistake("epochs", lambda place: place.train("--epochs", "0"), 2, r"epochs = 0 is not between 1 and"),
    Mistake("features", with_set("features.kind=given"), 2, r"normalisation = 'speech' is for audio; with kind"),
    Mistake("no such features", with_set("features.kind=pen"), 2, r"kind = 'pen' is not one of mfcc, given"),
    Mistake("grid without lists", with_grid("[model]\nlayers = 1\n"), 2, r"grid\.toml: model\.layers is not a list of"),
    Mistake("grid value", with_grid("[model]\nlayers = [1, 0]\n"), 2, r"grid\.toml: .*layers = 0 is not between"),
    Mistake(
        "grid of a curve", with_grid("", "--learning-curve"), 2, r"--learning-curve and --grid cannot be used together"
    ),
    Mistake("its own manifest", own_manifest, 1, r"would overwrite the input file .*; write to another file"),
    Mistake("run again", run_again, 1, r"started with other settings or data \(training.seed: 1 -> 9\); .*--overwrite"),
    Mistake("over a model", over_a_model, 1, r"out has a model, but no training state to resume; choose another --out"),
    Mistake("nothing to resume", lambda place: place.train("--resume"), 1, r"out: there is no run to resume"),
    Mistake(
        "resume and overwrite", lambda place: place.train("--resume", "--overwrite"), 2, r"--overwrite starts a new run"
    ),
    Mistake(
        "no noise", with_set("augment.noise=nowhere"), 1, r"augment.noise = 'nowhere': not a folder with recordings"
    ),
    Mistake(
        "noise ratio", with_set("augment.noise_snr_low=30"), 2, r"noise_snr_high = 25.0 is not between 30.0 and 100"
    ),
    Mistake(
        "batch size", with_set("training.batch_seconds=some"), 2, r"batch_seconds = 'some' is neither a number nor"
    ),
    Mistake(
        "batch kind", with_set("training.batch_seconds=[1]"), 2, r"batch_seconds must be a number or a string, not"
    ),
    Mistake("precision", with_set("training.precision=int8"), 2, r"precision = 'int8' is not one of float32, bfloat16"),
    Mistake(
        "precision of the device",
        with_set("training.precision=float16"),
        1,
        r"precision = float16 needs cuda, and the device is cpu; use float32",
    ),
    Mistake("average of", with_set("training.average_of=all"), 2, r"average_of = 'all' is not one of best, last"),
    Mistake(
        "character",
        lambda place: place.train(train=place.row(text="AÉB")),
        1,
        r"row 1 \(good\): 'É' not in the alphabet ' ABC'; correct the text, or set",
    ),
    Mistake(
        "unalignable",
        lambda place: place.train(train=place.row(text="ABC" * 99)),
        1,
        r"rows\.jsonl: no usable utterance is left",
    ),
]
MODELS = [
    Mistake("missing", lambda place: ["inspect", str(place.folder / "no.safetensors")], 2, r"does not exist"),
    Mistake("text", lambda place: ["inspect", str(place.file("m.safetensors", "hello"))], 1, r"not a safetensors file"),
    Mistake("truncated", truncated_model, 1, r"cut\.safetensors: not a safetensors file, or a truncated one"),
    Mistake("foreign", foreign_model, 1, r"foreign\.safetensors: a safetensors file, but not a model"),
    Mistake("pickled", pickled_model, 1, r"model\.pt: not a safetensors file"),
    Mistake("newer schema", lambda place: place.damaged(schema="99"), 1, r"schema 99, but this asr reads up to 2"),
    Mistake("damaged settings", lambda place: place.damaged(settings="{"), 1, r"damaged metadata"),
]
CORPORA = [
    Mistake("no AN4", lambda place: ["prepare", "an4", str(place.folder), "--out", "o"], 1, r"no etc/an4_train"),
    Mistake(
        "no subset",
        lambda place: [*place.librispeech("1-2-0 A\n", "1-2-0")[:3], "test-clean", "--out", "o"],
        1,
        r"no subset 'test-clean' in it, only dev-clean; --download fetches it",
    ),
    Mistake(
        "no sound", lambda place: place.librispeech("1-2-0 A\n1-2-1 B\n", "1-2-0"), 1, r"line 2: no sound file 1-2-1"
    ),
    Mistake(
        "no line", lambda place: place.librispeech("1-2-0 A\n", "1-2-0", "1-2-1"), 1, r"1-2-1\.wav: no line for it"
    ),
    Mistake("no text", lambda place: place.librispeech("1-2-0\n", "1-2-0"), 1, r"line 1: '1-2-0' is not 'ID TEXT'"),
    Mistake(
        "folder without shards",
        lambda place: place.train(train=place.folder),
        1,
        r"shards\.jsonl: no such file; `asr prepare index` writes the index of shards",
    ),
    Mistake(
        "damaged shard",
        lambda place: ["prepare", "index", str(place.file("a.tar", b"no tar")), *place.out("shards.jsonl")],
        1,
        r"a\.tar: truncated, damaged or not an uncompressed tar",
    ),
    Mistake(
        "index over a shard",
        lambda place: ["prepare", "index", str(place.file("a.tar")), *place.out("a.tar")],
        2,
        r"a\.tar: would overwrite the input file",
    ),
    Mistake("no table", lambda place: ["prepare", "table", "no.csv", "--out", "o"], 1, r"no\.csv: no such table"),
    Mistake("no columns", lambda place: place.table("x,y\n1,2\n"), 1, r"table\.csv, row 1: .*neither a header"),
    Mistake(
        "empty text", lambda place: place.table("audio,text\na.wav,\n"), 1, r"table\.csv, row 2: the text is empty"
    ),
    Mistake(
        "lost sound", lambda place: place.table("audio,text\nb.wav,A\n"), 1, r"table\.csv, row 2: .*b\.wav: no such"
    ),
    Mistake("comma in a text", lambda place: place.table("audio,text\na.wav,A, B\n"), 1, r"row 2: 3 cells, expected 2"),
    Mistake(
        "joined with itself",
        lambda place: ["prepare", "join", str(place.row()), *place.out("."), "--name", "rows"],
        2,
        r"rows\.jsonl: would overwrite the input file",
    ),
    Mistake(
        "Latin-1", lambda place: place.table(b"audio,text\na.wav,\xe9\n"), 1, r"line 2: not UTF-8 \(byte 7 is 0xE9\)"
    ),
]
LANGUAGE_MODELS = [
    Mistake(
        "no text", lambda place: ["lm", "train", str(place.folder / "no.txt"), "-o", "x.arpa"], 2, r"no\.txt.*exist"
    ),
    Mistake("folder", lambda place: ["lm", "train", str(place.folder), "-o", "x.arpa"], 2, r"is a directory"),
    Mistake("empty text", lambda place: place.lm_train(text="\n…\n"), 1, r"text\.txt: no sentences"),
    Mistake(
        "not UTF-8",
        lambda place: place.lm_train(text=b"A\n\xff\n"),
        1,
        r"text\.txt, line 2: not UTF-8 \(byte 1 is 0xFF\)",
    ),
    Mistake("cut gzip", lambda place: place.lm_train(text=b"\x1f\x8b\x08"), 1, r"text\.txt:0: the compressed file is"),
    Mistake(
        "marker",
        lambda place: place.lm_train("--normaliser", "none", text="a\nb </s> c\n"),
        1,
        r"text\.txt:2: </s> marks the end of a sentence",
    ),
    Mistake(
        "broken manifest",
        lambda place: ["lm", "train", str(place.file("rows.jsonl", "{\n")), "-o", str(place.folder / "x.arpa"), "-q"],
        1,
        r"rows\.jsonl, line 1: not JSON",
    ),
    Mistake("name", lambda place: place.lm_train(out="lm.txt"), 2, r"an ngram model must end with \.arpa or"),
    Mistake(
        "name of rnn", lambda place: place.lm_train("--kind", "rnn"), 2, r"an rnn model must end with \.safetensors"
    ),
    Mistake("option of rnn", lambda place: place.lm_train("--epochs", "3"), 2, r"--epochs needs --kind rnn"),
    Mistake("option of ngram", lambda place: place.rnn_train("--order", "3"), 2, r"--order needs --kind ngram"),
    Mistake("order", lambda place: place.lm_train("--order", "0"), 2, r"0 is not in the range 1<=x<=9"),
    Mistake("cutoffs", lambda place: place.lm_train("--cutoffs", "1,x"), 2, r"--cutoffs 1,x: expected whole numbers"),
    Mistake(
        "falling cutoffs", lambda place: place.lm_train("--cutoffs", "0,2,1"), 2, r"must start with 0 and not decrease"
    ),
    Mistake("prune", lambda place: place.lm_train("--prune", "nan"), 2, r"'nan' is not a finite number"),
    Mistake(
        "normaliser", lambda place: place.lm_train("--normaliser", "lower"), 2, r"normaliser = 'lower' is not one of"
    ),
    Mistake(
        "alphabet of words", lambda place: place.lm_train("--alphabet", "AB"), 2, r"--alphabet needs --kind rnn or"
    ),
    Mistake("alphabet", lambda place: place.rnn_train("--alphabet", "ABA"), 2, r"alphabet: 'A' is twice"),
    Mistake(
        "visible space",
        lambda place: place.lm_train("--unit", "character", "--alphabet", "A▁"),
        2,
        r"▁ stands for the space",
    ),
    Mistake("auto", lambda place: place.rnn_train("--alphabet", "auto"), 2, r"list the characters"),
    Mistake(
        "model and alphabet",
        lambda place: place.rnn_train("--alphabet", "AB", "--model", str(place.model)),
        2,
        r"--model sets the normaliser and alphabet",
    ),
    Mistake("cell", lambda place: place.rnn_train("--cell", "elman"), 2, r"cell = 'elman' is not one of rnn-tanh"),
    Mistake("dropout", lambda place: place.rnn_train("--dropout", "1"), 2, r"dropout = 1\.0 is neither 0 nor between"),
    Mistake(
        "learning rate", lambda place: place.rnn_train("--learning-rate", "0"), 2, r"--learning-rate = 0\.0 is not"
    ),
    Mistake("no GPU", lambda place: place.rnn_train("--device", "cuda"), 1, r"device cuda is not available"),
    Mistake("too few to hold out", lambda place: place.rnn_train(), 2, r"fewer than 50 sentences.*--dev"),
    Mistake(
        "outside the alphabet",
        lambda place: place.rnn_train("--alphabet", "XYZ"),
        1,
        r"text\.txt:1: 'A' is not in the alphabet 'XYZ'$",
    ),
    Mistake(
        "vocabulary",
        lambda place: place.lm_train("--vocabulary", str(place.file("words", "THE 12\n"))),
        1,
        r"words:1: 'THE 12' is not a word; the file has one word per line",
    ),
    Mistake(
        "over a text",
        lambda place: ["lm", "train", str(place.file("a.arpa", "A\n")), "--out", str(place.folder / "a.arpa")],
        2,
        r"a\.arpa: would overwrite the input file .*a\.arpa; write to another file",
    ),
    Mistake("twice", lambda place: ["lm", "train", "-", "-", "--out", "x.arpa"], 2, r"can be read only once"),
    Mistake("no model", lambda place: place.perplexity(place.folder / "no.arpa"), 2, r"no\.arpa.* does not exist"),
    Mistake(
        "text as model", lambda place: place.perplexity(place.file("x", "hello")), 1, r"x:1: .*it is not an ARPA file"
    ),
    Mistake("acoustic model", lambda place: place.perplexity(place.model), 1, r"but not a recurrent language model"),
    Mistake("no words", lambda place: place.perplexity(arpa(place), "\n"), 1, r"text\.txt: no sentences"),
]
TRANSCRIBING = [
    Mistake(
        "no match",
        lambda place: place.transcribe(place.folder / "*.wav"),
        1,
        r"\*\.wav: no sound file matches this pattern",
    ),
    Mistake(
        "brackets",
        lambda place: place.transcribe(place.folder / "[a] b" / "c[1]*.wav"),
        1,
        r"no sound file matches this pattern; \[ and \] enclose characters to choose from, write \[\[\] for \[$",
    ),
    Mistake(
        "URL",
        lambda place: place.transcribe("https://example.org/a.mp3?b=*"),
        1,
        r"a\.mp3\?b=\*: a URL, not a file; download it, or .*: curl -L https://example\.org/a\.mp3\?b=\* \| asr trans",
    ),
    Mistake(
        "UTF-16",
        lambda place: place.transcribe_list(place.file("l.txt", "a.wav\nb.wav\n".encode("utf-16-le"))),
        1,
        r"l\.txt: looks like UTF-16 without a byte order mark; save it as UTF-8$",
    ),
    Mistake("option or file", dashed, 2, r"No such option '-x'; for the file, write \./-x\.wav; see asr transcribe"),
    Mistake("empty name", lambda place: place.transcribe(""), 1, r"'': no such file"),
    Mistake("no list", lambda place: place.transcribe_list(place.folder / "no.txt"), 2, r"no\.txt.* does not exist"),
    Mistake(
        "empty list", lambda place: place.transcribe_list(place.file("l.txt", "\n")), 1, r"l\.txt: the list is empty"
    ),
    Mistake("lost", lambda place: place.transcribe_list(place.file("l", "/no/a.wav\n")), 1, r"/no/a\.wav: no such fi"),
    Mistake("dashes", lambda place: [*place.transcribe("-"), "--list", "-"], 2, r"- and --list - are both standard"),
    Mistake("several", lambda place: place.sound("--format", "txt,srt"), 2, r"several formats need --out FOLDER"),
    Mistake("force", lambda place: place.sound("--force"), 2, r"--force needs --out FOLDER"),
    Mistake("jobs", lambda place: place.sound("--jobs", "0"), 2, r"0 is not in the range x>=1"),
    Mistake("one output", two_of_one, 1, r"a\.flac and .*a\.wav would both be written to .*a\.txt; rename one, or"),
    Mistake("over others'", over_a_text, 1, r"a\.txt: already exists and was not written by an earlier run; .*--force"),
    Mistake("over itself", over_itself, 1, r"a\.txt: would overwrite the input file .*a\.txt; write to another file"),
    Mistake("out is a file", lambda place: place.sound("--out", str(place.file("x", "y"))), 2, r"x' is a file"),
    Mistake(
        "out in a file",
        lambda place: place.sound("--out", str(place.file("x", "y") / "out")),
        1,
        r"x/out: Not a directory",
    ),
]
ARGUMENTS = [
    Mistake("no such command", lambda place: ["trian"], 2, r"No such command 'trian'"),
    Mistake("no such option", lambda place: ["train", "--epoch", "3"], 2, r"No such option '?--epoch"),
    Mistake("no model", lambda place: ["tune", str(place.file("a.jsonl", ""))], 2, r"Missing option '--model'"),
    Mistake("no file", lambda place: ["transcribe", "--model", str(place.model)], 2, r"Missing argument 'FILE"),
    Mistake("format", lambda place: [*place.transcribe("a.wav"), "--format", "doc"], 2, r"'doc' is not one of"),
    Mistake("seed", lambda place: place.train("--seed", "many"), 2, r"'many' is not a valid integer"),
    Mistake(
        "no GPU", lambda place: [*place.transcribe("a.wav"), "--device", "cuda"], 1, r"device cuda is not available"
    ),
    Mistake("no folder", with_report, 1, r"good\.wav: (File exists|Not a directory)"),
    Mistake("device", lambda place: place.train("--device", "tpu"), 2, r"'tpu' is not one of"),
    Mistake(
        "model and recipe",
        lambda place: ["doctor", str(place.row()), "-m", str(place.model), "-r", str(place.tones / "tiny.toml")],
        2,
        r"--model and --recipe cannot be used together; give one of them",
    ),
]
SCORES = [
    Mistake("no references", lambda place: ["score", "no.txt", "no.txt"], 2, r"no\.txt' does not exist"),
    Mistake("no hypotheses", lambda place: ["score", str(place.file("r.txt", "u1 A\n"))], 2, r"argument 'HYPOTHESES'"),
    Mistake("empty", lambda place: place.score(""), 1, r"h\.txt: no transcripts"),
    Mistake("not UTF-8", lambda place: place.score(b"u1 \xff\n"), 1, r"h\.txt, line 1: not UTF-8 \(byte 4 is 0xFF\)"),
    Mistake("twice", lambda place: place.score("u1 A\nu1 B\n"), 1, r"row 2: id 'u1' is already in row 1; remove"),
    Mistake(
        "other ids", lambda place: place.score("A\n"), 1, r"no id is in the references \(its first id is 'A', theirs"
    ),
    Mistake(
        "missing ids",
        lambda place: place.score("u1 A\n", references="u1 A\nu2 B\n"),
        1,
        r"h\.txt: no hypothesis for 1 id \('u2'\); --allow-missing counts",
    ),
    Mistake("trn", lambda place: place.score("A u1\n", name="h.trn"), 1, r"h\.trn, row 1: 'A u1' is not of the form"),
    Mistake("ctm", lambda place: place.score("u1 1 x 1 A\n", name="h.ctm"), 1, r"row 1: start 'x' is not a number of"),
    Mistake(
        "stm", lambda place: place.score("u1 A\n", "--reference-format", "stm"), 1, r"r\.txt, row 1: .* has 2 columns"
    ),
    Mistake("jsonl", lambda place: place.score("{}", name="h.jsonl"), 1, r"h\.jsonl, row 1: no 'text' in '{}'; add it"),
    Mistake(
        "csv", lambda place: place.score("a,b\n", name="h.csv"), 1, r"row 1: the header 'a,b' needs a column 'text'"
    ),
    Mistake("no words", lambda place: place.score("u1 A\n", references="u1\n"), 1, r"the references have no words"),
    Mistake(
        "normalised away",
        lambda place: place.score("u1 A\n", "--normaliser", "basic", references="u1 …\n"),
        1,
        r"the references have no words",
    ),
    Mistake("format", lambda place: place.score("", "--hypothesis-format", "doc"), 2, r"'doc' is not one of"),
    Mistake("normaliser", lambda place: place.score("", "--normaliser", "whisper"), 2, r"'whisper' is not one of"),
    Mistake("limit", lambda place: place.score("", "--fail-above", "-1"), 2, r"-1.* is not in the range x>=0"),
    Mistake(
        "equivalents",
        lambda place: place.score("u1 A\n", "--equivalents", str(place.file("same.txt", "a b\n"))),
        1,
        r"same\.txt, line 1: 'a b' is not of the form 'colour = color'",
    ),
    Mistake(
        "one system",
        lambda place: ["compare", *place.score("u1 A\n")[1:]],
        2,
        r"needs REFERENCES and the hypotheses of two or more systems",
    ),
    Mistake(
        "itself",
        lambda place: ["compare", *place.score("u1 A\n")[1:], str(place.folder / "h.txt")],
        2,
        r"h\.txt is given twice; a system cannot be compared with itself",
    ),
    Mistake(
        "report in a file",
        lambda place: place.score("u1 A\n", "--report", str(place.folder / "r.txt" / "x.html")),
        1,
        r"r\.txt: (File exists|Not a directory)",
    ),
]
DECODING = [
    Mistake("no search", lambda place: place.sound("--nbest", "3"), 2, r"--nbest needs --format json"),
    Mistake("weight alone", lambda place: place.sound("--lm-weight", "1"), 2, r"--lm-weight needs a language model"),
    Mistake("rescorer's alone", lambda place: place.sound("--rescorer-weight", "1"), 2, r"--rescorer-weight needs a"),
    Mistake("width", lambda place: place.sound("--beam-width", "0"), 2, r"0 is not in the range 1<=x<=1000000"),
    Mistake("bonus", lambda place: place.sound("--word-bonus", "nan"), 2, r"'nan' is not a finite number"),
    Mistake("infinite", lambda place: place.sound("--lm-weight", "inf"), 2, r"'inf' is not a finite number"),
    Mistake(
        "list of greedy",
        lambda place: place.sound("--greedy", "--nbest", "3", "--format", "json"),
        2,
        r"--nbest needs a beam search; leave out --greedy",
    ),
    Mistake(
        "greedy and beam", lambda place: place.sound("--greedy", "--beam-width", "9"), 2, r"cannot be used with other"
    ),
    Mistake("hotword's weight", lambda place: place.sound("--hotword", "A:x"), 2, r"the weight 'x' is not a number"),
    Mistake("hotword's letters", lambda place: place.sound("--hotword", "AXE"), 1, r"'AXE': 'X' is not in the alph"),
    Mistake("empty hotword", lambda place: place.sound("--hotword", " "), 1, r"a hotword is empty"),
    Mistake(
        "no language model",
        lambda place: place.sound("-q", "--lm", str(place.file("lm.arpa", "hello\n"))),
        1,
        r"lm\.arpa.*\\data\\",
    ),
    Mistake(
        "words to guide",
        lambda place: place.sound("-q", "--lm", str(place.words())),
        1,
        r"words\.safetensors: a recurrent model of words .*give it as the rescorer",
    ),
    Mistake(
        "n-gram rescorer",
        lambda place: place.sound("-q", "--rescorer", str(place.arpa())),
        1,
        r"lm\.arpa: an n-gram model; the rescorer must be a recurrent",
    ),
    Mistake(
        "decoder's key",
        lambda place: place.sound("--decoder", str(place.file("d.toml", "[search]\nwidth = 3\n"))),
        2,
        r"d\.toml: unknown key 'search\.width'",
    ),
    Mistake(
        "decoder's value",
        lambda place: place.sound("--decoder", str(place.file("d.toml", "temperature = 0\n"))),
        2,
        r"d\.toml: temperature = 0\.0 is not ",
    ),
    Mistake(
        "decoder's file",
        lambda place: place.sound("--decoder", str(place.file("d.toml", 'lm = "no.arpa"\n'))),
        1,
        r"no\.arpa: no such file",
    ),
    Mistake(
        "nothing to tune on",
        lambda place: ["tune", str(place.row(text="A")), "--model", str(place.folder / "no.safetensors")],
        2,
        r"no\.safetensors.* does not exist",
    ),
    Mistake(
        "tune without words",
        lambda place: ["tune", str(place.row(text=".")), "--model", str(place.model), "-q", *place.out("d.toml")],
        1,
        r"the texts have no words",
    ),
]
ALIGNING = [
    Mistake("nothing", lambda place: place.align(), 2, r"AUDIO is missing; give AUDIO and TEXT, or --manifest"),
    Mistake(
        "no text",
        lambda place: place.align("a.wav"),
        2,
        r"the text of a\.wav is missing; give a file TEXT, or --text WORDS",
    ),
    Mistake("no recording", lambda place: place.align("no.wav", "--text", "A"), 1, r"no\.wav: no such file"),
    Mistake("lost text", lambda place: place.align("a.wav", "no.txt"), 2, r"no\.txt' does not exist"),
    Mistake(
        "two texts",
        lambda place: place.align("a.wav", place.file("a.txt", "A"), "--text", "A"),
        2,
        r"TEXT and --text cannot be used together; give one of them",
    ),
    Mistake(
        "manifest and recording",
        lambda place: place.align("a.wav", "--manifest", place.row()),
        2,
        r"--manifest cannot be used with AUDIO or TEXT",
    ),
    Mistake(
        "text not UTF-8",
        lambda place: place.align(place.wav("a.wav", spell("A")), place.file("a.txt", b"A\xff")),
        1,
        r"a\.txt, line 1: not UTF-8 \(byte 2 is 0x..\); save the file as UTF-8",
    ),
    Mistake(
        "too long a text",
        lambda place: place.align(place.wav("a.wav", spell("A")), "--text", "ABC" * 50, *place.out("a.json")),
        1,
        r"utterance a: its text does not fit into 0\.28 s: 8 frames are too few for 150 tokens",
    ),
    Mistake(
        "no text left",
        lambda place: place.align(place.wav("a.wav", spell("A")), "--text", "…"),
        1,
        r"utterance a: no character of '…' is in the model's alphabet",
    ),
    Mistake(
        "suspects of one",
        lambda place: place.align("a.wav", "--text", "A", "--suspects", "3"),
        2,
        r"--suspects needs --manifest",
    ),
    Mistake(
        "suspects as ctm",
        lambda place: place.align("--manifest", place.row(), "--suspects", "3", "--format", "ctm"),
        2,
        r"--suspects prints text or --format json, not ctm",
    ),
    Mistake(
        "grids on stdout",
        lambda place: place.align("--manifest", place.row(), "--format", "textgrid"),
        2,
        r"a file for each row; give a folder with --out",
    ),
]
STREAMS = [
    Mistake("whole recording", lambda place: place.sound("--stream"), 1, r"needs the whole recording.*bidirectional"),
    Mistake("two files", lambda place: place.sound("b.wav", "--stream"), 2, r"--stream takes one FILE, not 2"),
    Mistake(
        "no rate",
        lambda place: [*place.transcribe("-"), "--stream"],
        2,
        r"--stream reads raw .* with FILE - and --raw-rate HZ",
    ),
    Mistake(
        "rate of a file",
        lambda place: place.sound("--stream", "--raw-rate", "8000"),
        2,
        r"a sound file needs no --raw-rate",
    ),
    Mistake("rate alone", lambda place: place.sound("--raw-rate", "8000"), 2, r"--raw-rate needs --stream"),
    Mistake(
        "rate of nothing", lambda place: place.sound("--stream", "--raw-rate", "0"), 2, r"0 is not in the range x>=1"
    ),
    Mistake(
        "json", lambda place: place.sound("--stream", "--format", "json"), 2, r"--format cannot be used with --stream"
    ),
]
TABLE = {
    f"{kind}: {mistake.name}": mistake
    for kind, mistakes in {
        "audio": AUDIO,
        "manifest": MANIFEST,
        "settings": SETTINGS,
        "models": MODELS,
        "corpora": CORPORA,
        "language models": LANGUAGE_MODELS,
        "decoding": DECODING,
        "arguments": ARGUMENTS,
        "transcribing": TRANSCRIBING,
        "scores": SCORES,
        "aligning": ALIGNING,
        "streams": STREAMS,
    }.items()
    for mistake in mistakes
}


@pytest.mark.parametrize("name", TABLE)
def test_mistake_ends_in_one_line(
    name: str, tmp_path: Path, tones: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mistake = TABLE[name]
    arguments = mistake.arguments(Place(tmp_path, tones, trained / "best.safetensors"))
    assert main(arguments) == mistake.code
    output = capsys.readouterr()
    assert re.search(mistake.says, output.err), output.err
    assert output.err.startswith("asr: ") and output.err.count("\n") == 1, output.err
    assert output.out.strip() == ""
    assert not list(tmp_path.rglob("*.part"))
    kept = name in ("settings: run again", "settings: its own manifest")
    assert not list((tmp_path / "out").glob("*.jsonl")) or kept


def test_mistakes_are_many() -> None:
    assert len(TABLE) >= 40
