"""No command writes over a file that it reads."""

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from asr.cli import main
from asr.corpora import manifest
from asr.corpora.manifest import Utterance
from tests.conftest import SAMPLE_RATE, spell

# Each command reads all files of the folder `f` that it can, and would write over the one that is named last.
COMMANDS: dict[str, Callable[[Path, str], list[str | Path]]] = {
    "align": lambda f, model: ["align", f / "a.wav", "--text", "AB", "--model", model, "--out", f / "a.wav"],
    "align text": lambda f, model: ["align", f / "a.wav", f / "a.txt", "--model", model, "--out", f / "a.txt"],
    "align model": lambda f, model: ["align", f / "a.wav", f / "a.txt", "--model", f / "m", "--out", f / "m"],
    "align recording": lambda f, model: ["align", "--manifest", f / "a.jsonl", "--model", model, "--out", f / "a.wav"],
    "score": lambda f, model: ["score", f / "a.jsonl", f / "a.jsonl", "--json", f / "a.jsonl"],
    "score link": lambda f, model: ["score", f / "a.jsonl", f / "a.jsonl", "--report", f / "link"],
    "score audio": lambda f, model: [
        *("score", f / "a.jsonl", f / "a.jsonl", "--audio", "--report", f / "page", "--pra", f / "a.wav")
    ],
    "compare": lambda f, model: ["compare", f / "a.jsonl", f / "a.jsonl", f / "link", "--json", f / "a.jsonl"],
    "evaluate": lambda f, model: ["evaluate", f / "a.jsonl", "--model", model, "--dtl", f / "a.wav"],
    "prepare table": lambda f, model: ["prepare", "table", f / "t.jsonl", "--out", f],
    "prepare join": lambda f, model: ["prepare", "join", f / "a.jsonl", "--out", f, "--name", "a"],
    "lm train": lambda f, model: ["lm", "train", f / "a.jsonl", "--out", f / "link.arpa"],
    "tune": lambda f, model: ["tune", f / "a.jsonl", "--model", model, "--out", f / "a.jsonl"],
    "tune page": lambda f, model: ["tune", f / "a.html", "--model", model, "--out", f / "a.toml"],
    "transcribe list": lambda f, model: ["transcribe", "--list", f / "a.txt", "--model", model, "--out", f, "--force"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_inputs_are_not_written_over(
    name: str, tmp_path: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = trained / "best.safetensors"
    soundfile.write(tmp_path / "a.wav", spell("AB"), SAMPLE_RATE)
    manifest.write(tmp_path / "a.jsonl", [Utterance("a", str(tmp_path / "a.wav"), 0.3, "AB")])
    (tmp_path / "a.txt").write_text(str(tmp_path / "a.wav"))
    (tmp_path / "m").write_bytes(model.read_bytes())
    (tmp_path / "a.html").write_bytes((tmp_path / "a.jsonl").read_bytes())
    (tmp_path / "t.jsonl").write_text("audio,text\na.wav,ab\n")
    for link in ("link", "link.arpa"):
        (tmp_path / link).symlink_to(tmp_path / "a.jsonl")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    code = main(list(map(str, COMMANDS[name](tmp_path, str(model)))))
    output = capsys.readouterr()
    assert code and "would overwrite the input file" in output.err and output.err.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.name != ".asr-made"} == before


def test_one_file_is_not_written_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("a A\n")
    text = str(tmp_path / "a.txt")
    out = str(tmp_path / "out")
    assert main(["score", text, text, "--json", out, "--report", f"{tmp_path}/./out"]) == 2
    assert "out: two outputs would be written to it" in capsys.readouterr().err
