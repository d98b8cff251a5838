"""The public names, pinned: taking one away breaks users."""

import subprocess
import sys

import asr


def test_the_public_names_are_these() -> None:
    assert asr.__all__ == [
        "DecoderConfig",
        "DecoderSettings",
        "Evaluation",
        "Hypothesis",
        "LanguageModels",
        "Listening",
        "Recipe",
        "Recognizer",
        "Stream",
        "Utterance",
        "Word",
        "evaluate",
        "load",
        "read_decoder",
        "read_manifest",
        "read_settings",
        "train",
        "write_manifest",
    ]


def test_every_public_name_is_there_and_documented() -> None:
    for name in asr.__all__:
        assert getattr(asr, name).__doc__, name
    assert not hasattr(asr, "nothing_of_this_name")


def test_the_command_line_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from asr.cli import main; main(['train', '--help']); main(['--version']); "
        "print([name for name in ('torch', 'librosa', 'numpy', 'rich', 'soundfile') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
