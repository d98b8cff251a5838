"""The page of tuning trials."""

import re
from dataclasses import replace

import numpy as np

from asr.decoding.beam import BeamSettings, LmSettings
from asr.decoding.decoder import GREEDY, DecoderSettings
from asr.decoding.tuning import DevSet, Trial, TuningResult
from asr.decoding.tuning.page import render

DEV = DevSet([np.zeros((1, 2), np.float32)] * 2, ["A B C", "D"], 10.0, 0.03)
WEIGHTS, BONUSES = (0.0, 0.5, 1.0), (-1.0, 2.0)


def trial(settings: DecoderSettings, errors: int, words: int = 4) -> Trial:
    return Trial(settings, (errors, 0), 0.5, words)


def tuned(words: int = 4) -> TuningResult:
    """Return six trials of weights, of which the last has the fewest errors, and two searches."""
    settings = [DecoderSettings(weights=LmSettings(weight, bonus)) for weight in WEIGHTS for bonus in BONUSES]
    grid = tuple(trial(one, 5 - index, words) for index, one in enumerate(settings))
    searches = tuple(trial(replace(settings[-1], search=BeamSettings(width)), 0) for width in (10, 50))
    return TuningResult(searches[1], trial(GREEDY, 2), grid, searches, (3, 1))


def test_page_shows_the_grid_of_weights_and_the_searches() -> None:
    page = render(tuned(), DEV, {"manifest": "<dev>.jsonl"})
    assert "Tuned on 2 utterances, 4 words" in page
    assert "Greedy 50.00 % WER, tuned 0.00 %." in page
    assert page.count("<tr>") == 1 + len(WEIGHTS) + 1 + 2
    assert re.findall(r'<th scope="row">(.*?)</th>', page) == ["0", "0.5", "1"]
    cells = re.findall(r'<td class="heat(.*?)" style="--share: (\d+)%">(.*?)</td>', page)
    assert [wer for _, _, wer in cells] == ["125.00", "100.00", "75.00", "50.00", "25.00", "0.00", "0.00", "0.00"]
    assert [share for _, share, _ in cells][:6:5] == ["0", "55"]
    assert [index for index, (best, _, _) in enumerate(cells) if best] == [5, 7]
    assert "words of the set" not in page
    assert "on 2 words of the set" in render(tuned(2), DEV, {})


def test_page_escapes_texts_and_requests_nothing() -> None:
    page = render(tuned(), DEV, {"<b>": "<script>"})
    assert "&lt;script&gt;" in page and "<script" not in page and "<b>" not in page
    assert "http:" not in page and "https:" not in page
    assert "default-src 'none'" in page


def test_page_without_gain_or_language_model_has_no_grid() -> None:
    result = replace(tuned(), best=trial(GREEDY, 2), grid=())
    page = render(result, DEV, {})
    assert "Greedy 50.00 % WER: no setting makes fewer errors." in page
    assert "Language-model weight" not in page and 'class="heat best"' not in page
