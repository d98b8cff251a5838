"""Scoring: error counts, rates with intervals, and significance tests."""

from asr.scoring.bootstrap import Rate as Rate
from asr.scoring.bootstrap import ScoringError as ScoringError
from asr.scoring.bootstrap import interval as interval
from asr.scoring.counts import Score as Score
from asr.scoring.counts import UtteranceScore as UtteranceScore
from asr.scoring.counts import nearest as nearest
from asr.scoring.counts import score as score
from asr.scoring.counts import worst as worst
