"""Training: from manifests and a recipe to model files, in runs that can be stopped and resumed."""

from asr.training.options import TrainOptions
from asr.training.run import TrainResult, prepare_features, train
from asr.training.step import TrainingError

__all__ = ["TrainOptions", "TrainResult", "TrainingError", "prepare_features", "train"]
