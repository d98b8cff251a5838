"""The network and its file."""

from asr.model.network import CELLS as CELLS
from asr.model.network import Dropout as Dropout
from asr.model.network import Front as Front
from asr.model.network import Model as Model
from asr.model.network import ModelSettings as ModelSettings
from asr.model.network import Output as Output
from asr.model.network import RecurrentLayer as RecurrentLayer
from asr.model.network import StreamState as StreamState
from asr.model.network import check_dropout as check_dropout
from asr.model.network import output_length as output_length
from asr.model.network import reverse as reverse
