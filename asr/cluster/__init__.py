"""Jobs on a Ray cluster: transcription, the features of training, the trials of tuning.

Nodes share nothing but the disk. Audio never passes through Ray: every node opens the recordings and the models itself,
under the same paths.
"""

from asr.cluster.connection import Cluster as Cluster
from asr.cluster.connection import divide as divide
from asr.cluster.nodes import ClusterError as ClusterError
from asr.cluster.nodes import ModelSpec as ModelSpec
from asr.cluster.nodes import model_spec as model_spec
