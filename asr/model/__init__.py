"""The network and its file. What needs torch is in `asr.model.network`."""

from asr.model.settings import CELLS as CELLS
from asr.model.settings import GATES as GATES
from asr.model.settings import ModelSettings as ModelSettings
from asr.model.settings import check_dropout as check_dropout
from asr.model.settings import output_length as output_length
from asr.model.settings import recurrence_shapes as recurrence_shapes
