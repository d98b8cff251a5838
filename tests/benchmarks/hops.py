"""Count what one transcription runs: functions and modules of asr, and how often the recording is opened.

usage: python tests/benchmarks/hops.py [FILE]     the greedy decoder, by the command line and by the API
"""

import contextlib
import inspect
import io
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

import soundfile

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
PACKAGE = str(ROOT / "asr")


class Counter:
    """Records the code objects of asr that run and the opens of one file, from when it is entered."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.codes: set[CodeType] = set()
        self.opens = 0
        sys.addaudithook(self._audit)
        self._open = soundfile.SoundFile.__init__

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and str(arguments[0]) == self.path:
            self.opens += 1

    def _profile(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            self.codes.add(frame.f_code)

    def run(self, work: Callable[[], object]) -> None:
        """Run something and print the counts."""

        def opened(sound: soundfile.SoundFile, file: object, *arguments: object, **names: object) -> None:
            name = file.decode() if isinstance(file, bytes) else file
            self.opens += str(name) == self.path
            self._open(sound, file, *arguments, **names)

        soundfile.SoundFile.__init__ = opened
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        try:
            work()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
            soundfile.SoundFile.__init__ = self._open
        # Not the bodies of modules and classes, nor comprehensions.
        functions = {code for code in self.codes if code.co_flags & inspect.CO_OPTIMIZED and code.co_name[0] != "<"}
        modules = {code.co_filename for code in functions}
        imported = {code.co_filename for code in self.codes}
        print(f"  {len(functions)} functions in {len(modules)} modules; {len(imported)} modules imported or run")
        print(f"  {self.opens} opens of the recording")
        for name in sorted(modules):
            print("   ", Path(name).relative_to(PACKAGE))


def main() -> None:
    """Count the command line, then the API."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "data/samples/sample-01.opus"
    print(f"asr transcribe {path.name} --greedy")

    def transcribe() -> None:
        from asr.cli import main as command

        with contextlib.redirect_stdout(io.StringIO()):
            command(["transcribe", str(path), "--greedy", "--quiet"])

    Counter(path).run(transcribe)
    import asr

    recognizer = asr.load("english-small", decoder="greedy")
    print("Recognizer.transcribe_file")
    counter = Counter(path)
    counter.run(lambda: recognizer.transcribe_file(path))


if __name__ == "__main__":
    main()
