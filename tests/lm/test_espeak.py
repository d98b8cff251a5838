"""Pronunciations by espeak-ng: from IPA to ARPAbet, and the words themselves if the packages are installed."""

import pytest

from asr.config import ConfigError
from asr.lm import espeak
from asr.text.pronunciations import ARPABET


@pytest.mark.parametrize(
    ("ipa", "phonemes"),
    [
        ("k_ˈæ_t", "K AE T"),
        ("tʃ_ˈɜː_tʃ", "CH ER CH"),
        ("dʒ_ˈɔɪ", "JH OY"),
        ("dʒˈɔɪ", "JH OY"),
        # t and ʃ of different syllables are no affricate.
        ("n_ˈʌ_t_ʃ_ˌɛ_l", "N AH T SH EH L"),
        # Rhotic vowels: bird, letter, fire, furry, camera, start, curious, experience, worry, marry.
        ("b_ˈɜː_d", "B ER D"),
        ("l_ˈɛ_ɾ_ɚ", "L EH T ER"),
        ("f_ˈaɪɚ", "F AY ER"),
        ("f_ˈɜː_ɹ_i", "F ER IY"),
        ("k_ˈæ_m_ə_ɹ_ə", "K AE M ER AX"),
        ("s_t_ˈɑːɹ_t", "S T AA R T"),
        ("k_j_ˈʊɹ_ɹ_iə_s", "K Y UH R IY AX S"),
        ("ɛ_k_s_p_ˈiə_ɹ_ɪ_ə_n_s", "IH K S P IH R IY AX N S"),
        ("w_ˈʌ_ɹ_i", "W ER IY"),
        ("m_ˈæ_ɹ_i", "M EH R IY"),
        # Syllabic consonants: button, bottle.
        ("b_ˈʌ_ʔ_n̩", "B AH T AX N"),
        ("b_ˈɑː_ɾ_l̩", "B AA T AX L"),
        # Stress: unhappy, onion, comma.
        ("ʌ_n_h_ˈæ_p_i", "AX N HH AE P IY"),
        ("ˈʌ_n_iə_n", "AH N Y AX N"),
        ("k_ˈɑː_m_ə", "K AA M AX"),
        # Radio, include, finger.
        ("ɹ_ˈeɪ_d_ɪ_ˌoʊ", "R EY D IY OW"),
        ("ɪ_ŋ_k_l_ˈuː_d", "IH N K L UW D"),
        ("f_ˈɪ_ŋ_ɡ_ɚ", "F IH NG G ER"),
        # Several words, and sounds of other languages.
        ("t_w_ˈɛ_n_t_i θ_ɹ_ˈiː", "T W EH N T IY TH R IY"),
        ("l_ˈɑː_x", "L AA K"),
        ("ʁ_ɛ_z_ˈɔ̃", "R EH Z AO N"),
        ("f_ʁ_ɑ̃_s_ˈɛ", "F R AA N S EH"),
        ("nʲ_ˈɛ_t", "N EH T"),
        ("ˈɪ_ç", "IH HH"),
        # Nothing, only marks, and a click.
        ("", ""),
        ("ˈ_ː", ""),
        ("ǃ_ˈɑː", ""),
    ],
)
def test_ipa_to_arpabet(ipa: str, phonemes: str) -> None:
    assert espeak.arpabet(ipa) == phonemes.split()
    assert set(phonemes.split()) <= set(ARPABET)


def test_words_by_espeak() -> None:
    pytest.importorskip("phonemizer")
    pytest.importorskip("espeakng_loader")
    words = ["ZORBLE", "CHURCH", "'", "RADIO'S", *(f"X{number}" for number in range(600))]
    progress: list[tuple[int, int]] = []
    found = espeak.pronounce(words, "en-us", lambda done, total: progress.append((done, total)))
    assert found["CHURCH"] == ("CRC",) and found["RADIO'S"] == ("redioz",)
    assert found["ZORBLE"][0].startswith("zcrb")
    assert set(words) - set(found) == {"'"}
    assert progress == [(500, 604), (604, 604)]


def test_unknown_language() -> None:
    pytest.importorskip("phonemizer")
    pytest.importorskip("espeakng_loader")
    with pytest.raises(ConfigError, match="language 'xx' is none of espeak-ng's"):
        espeak.pronounce(["CAT"], "xx")
