"""How recordings are transcribed."""

from dataclasses import dataclass

from asr.errors import AsrError


class OptionsError(AsrError):
    """An option with a value that cannot be used."""


@dataclass(frozen=True)
class TranscribeOptions:
    """Options of transcription. All times are in seconds.

    `words`: return words with their times and confidences. `nbest`: how many hypotheses to return, the best included.
    `split_channels`: transcribe each channel by itself; otherwise channels are averaged. `vad`: leave out what voice
    activity detection takes for silence.

    Recordings up to `whole` are computed and decoded whole. Longer ones are computed in windows of `window` that share
    `overlap` with the next one, and decoded in segments that end at pauses. `batch_seconds`: how much audio is computed
    together, padding included; it changes speed and memory only. None: 120 on a CPU, 600 on a GPU. `threads`: threads
    that decode the recordings of a batch; 0: one for each core.
    """

    words: bool = False
    nbest: int = 1
    split_channels: bool = False
    vad: bool = False
    whole: float = 120.0
    window: float = 60.0
    overlap: float = 10.0
    batch_seconds: float | None = None
    threads: int = 0

    def __post_init__(self) -> None:
        if self.nbest < 1:
            raise OptionsError(f"nbest = {self.nbest} is not 1 or more")
        if not 0 <= self.whole <= 24 * 3600:
            raise OptionsError(f"whole = {self.whole} is not within 0 to {24 * 3600}")
        if not 1 <= self.window <= 3600:
            raise OptionsError(f"window = {self.window} is not within 1 to 3600")
        if not 0 <= self.overlap <= self.window / 2:
            raise OptionsError(f"overlap = {self.overlap} is not within 0 to half the window ({self.window / 2:g})")
        if self.batch_seconds is not None and not 1 <= self.batch_seconds <= 3600:
            raise OptionsError(f"batch_seconds = {self.batch_seconds} is not within 1 to 3600")
        if self.threads < 0:
            raise OptionsError(f"threads = {self.threads} is not 0 or more")


DEFAULT_OPTIONS = TranscribeOptions()
