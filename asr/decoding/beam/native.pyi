from collections.abc import Callable

from asr.decoding.beam.compiling import Doubles
from asr.decoding.beam.fusion import Fusion
from asr.decoding.beam.pruning import Pruning

INTERFACE: int

class _Session: ...

def begin(
    tokens: int,
    pruning: Pruning,
    fusion: Fusion,
    update: Callable[[bytes, bytes, bytes], tuple[memoryview, memoryview]] | None,
) -> _Session: ...
def extend(search: _Session, log_probs: Doubles) -> None: ...
def leading(search: _Session, rescored: bool) -> tuple[bytes, bytes, int]: ...
def finish(search: _Session) -> tuple[bytes, bytes, bytes, bytes, bytes]: ...
