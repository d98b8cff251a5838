"""The speech of utterances, small enough to stand in a page."""

import io
from base64 import b64encode

import soundfile

from asr import audio

# About 35 kbit/s of speech. Opus would be a fifth smaller, and ten times as slow to encode.
_FORMAT = {"format": "OGG", "subtype": "VORBIS"}
# libsndfile's Vorbis encoder overflows its stack where much is written at once.
_BLOCK = 1 << 14


def data_uri(path: str, offset: float = 0.0, duration: float | None = None) -> str:
    """Return a part of a recording, in seconds, as what an <audio> element plays. Raises AudioError."""
    waveform = audio.load(path, offset=offset, duration=duration)
    encoded = io.BytesIO()
    with soundfile.SoundFile(encoded, "w", audio.SAMPLE_RATE, 1, **_FORMAT) as out:
        for start in range(0, len(waveform), _BLOCK):
            out.write(waveform[start : start + _BLOCK])
    return f"data:audio/ogg;base64,{b64encode(encoded.getvalue()).decode('ascii')}"
