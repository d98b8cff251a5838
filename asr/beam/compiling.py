"""How functions are compiled: by numba, at their first use, cached on the disk."""

from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., object])
Ints = NDArray[np.int32]
Doubles = NDArray[np.float64]


def compiled(function: Function) -> Function:
    """Compile a function for the numbers it is called with, to run without the interpreter's lock."""
    return cast(Function, njit(cache=True, nogil=True, error_model="numpy")(function))
