from collections.abc import Callable

from asr.decoding.beam.compiling import Doubles
from asr.decoding.beam.fusion import Fusion
from asr.decoding.beam.pruning import Pruning

def search(
    log_probs: Doubles,
    tokens: int,
    pruning: Pruning,
    fusion: Fusion,
    update: Callable[[bytes, bytes, bytes], tuple[memoryview, memoryview]] | None,
) -> tuple[bytes, bytes, bytes, bytes]: ...
