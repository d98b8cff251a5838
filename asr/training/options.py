"""The options of a training run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from asr.features.cache import Compute
from asr.training.events import OnEvent


@dataclass(frozen=True)
class TrainOptions:
    """How a run is started and observed.

    `on_event`: called with each event; `should_stop`: called after each step, True saves and stops the run.
    `overwrite`: replace a run in the folder. `resume`: raise an error if there is none. `override`: resume although
    settings or data differ. `start`: a model file; a new run takes its weights, features, alphabet and shape; the
    output layer is new if `text.alphabet` is auto and the texts have other characters. `cache`: the folder of the
    features, in place of one beside each manifest. `skip_bad`: leave out recordings that cannot be read, with a note
    for each. `divisor`: train on one n-th of the utterances, n times in an epoch. `compute`: maps a function over
    tuples of arguments to compute features, such as `Cluster.map_each`; by default the processes of this machine do.
    `pronunciations`: a pronouncing dictionary; the network outputs the phonemes of its words, too.
    """

    on_event: OnEvent = lambda event: None
    should_stop: Callable[[], bool] = bool
    overwrite: bool = False
    resume: bool = False
    override: bool = False
    start: Path | None = None
    cache: Path | None = None
    skip_bad: bool = False
    divisor: int = 1
    compute: Compute | None = None
    pronunciations: Path | None = None
