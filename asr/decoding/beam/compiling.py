"""The compiler of the search and the types of its data.

A record of arrays costs compiled code a reference count for each array at each use. So the data of inner loops is in
arrays of structures, each an argument or a local variable.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.compiling import Compiler
from asr.lm import ngram

Ints = NDArray[np.int32]
Doubles = NDArray[np.float64]
# An array of structures.
Rows = NDArray[Any]

_compiler = Compiler(Path(__file__).parent, Path(ngram.__file__).parent)
compiled, inlined, is_compiled = _compiler.compiled, _compiler.inlined, _compiler.is_compiled


def caches() -> bool:
    """Return whether later processes find what is compiled."""
    return _compiler.folder is not None
