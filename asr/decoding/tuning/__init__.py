"""Choice of decoder settings by their word errors on a dev set."""

from asr.decoding.tuning.search import TuningResult as TuningResult
from asr.decoding.tuning.search import trial_count as trial_count
from asr.decoding.tuning.search import tune as tune
from asr.decoding.tuning.trials import DevSet as DevSet
from asr.decoding.tuning.trials import Trial as Trial
from asr.decoding.tuning.trials import TrialRunner as TrialRunner
