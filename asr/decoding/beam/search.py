"""CTC prefix beam search, compiled by numba.

Prefixes are nodes of a tree in flat arrays. A prefix in the beam has the log-probability of its paths that end in blank
and of those that end in its last token (Graves, 2012, section 7.5.3; Hannun et al., 2014, algorithm 1).

Texts have no space at the beginning and no double spaces: such a space leaves the prefix as it is. A space after the
pronunciation of several words makes as many prefixes, whose tokens are the same and whose words differ.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam.compiling import Doubles, Ints, Rows, compiled, inlined
from asr.decoding.beam.fusion import NOT_SCORED, PREFIX, Fusion, Weights, extend, final_score
from asr.decoding.beam.lexicon import OUTSIDE, Lexicon, descend, likeliest_word
from asr.decoding.beam.pruning import IMPOSSIBLE, Pruning, Unextended, best_indices, count_value, initial_bound, log_add
from asr.text import BLANK

# A prefix in the beam: its node in the tree, the log-probabilities of its paths that end in blank, in its last token
# and in either, and the sum of the last one and the prefix's estimate. `child`: the index of a prefix in the beam that
# has one token more, and `next`: that of the next such prefix with the same parent.
KEPT = np.dtype(
    [(name, np.float64) for name in ("blank", "last", "total", "value")]
    + [(name, np.int32) for name in ("node", "child", "next", "unused")]
)
# The first rows are the tokens by which a prefix may grow, with their nodes (`spot`) in the lexicon or, of spaces, the
# `word` that ends. `seen` is indexed by token: the index of the last prefix that has a child by that token in the beam.
CHOICE = np.dtype([(name, np.int32) for name in ("token", "spot", "word", "seen")])

# Paths of a prefix, and of shorter ones in the beam that grow into it, are summed later. It cannot win if each has
# a counterpart that is better by this many nats, unless there are more than 16 of them.
_FAR_BETTER = float(np.log(16))


class SearchState(NamedTuple):
    """The search after some frames: the `prefixes`, of which the first `used` are valid, and the `beam`."""

    prefixes: Rows
    used: int
    beam: Rows


class SearchResult(NamedTuple):
    """The texts of the last beam, best first: text i has the tokens `tokens[ends[i - 1] : ends[i]]`.

    `words`: for each token the word of the lexicon that ends with it, a space or the last one, or OUTSIDE. `acoustic`:
    the log-probability of a text's paths; `lm`: the score by language models and hotwords.
    """

    tokens: Ints
    words: Ints
    ends: Ints
    acoustic: Doubles
    lm: Doubles


class Frame(NamedTuple):
    """A frame: its log-probabilities (V,), the tokens that are tried, their threshold and their highest value."""

    row: Doubles
    tokens: Ints
    threshold: float
    highest: float


class Extended(NamedTuple):
    """Prefixes with one token more, and the log-probabilities of their paths.

    No prefix with a value below `lowest`, extended or not, is among the best.
    """

    prefixes: Rows
    lasts: Doubles
    lowest: float


@compiled
def search(state: SearchState, log_probs: Doubles, pruning: Pruning, fusion: Fusion) -> SearchState:
    """Return the state after the next frames (T', V)."""
    for frame in range(len(log_probs)):
        blank = log_probs[frame, BLANK]
        if blank >= pruning.blank_skip:
            _add_blank(state.beam, blank)
        else:
            state = proceed(state, log_probs[frame], pruning, fusion)
    return state


def begin(fusion: Fusion) -> SearchState:
    """Return the state before the first frame: the empty prefix."""
    prefixes, beam = np.empty(1024, PREFIX), np.empty(1, KEPT)
    prefixes[0]["parent"], prefixes[0]["token"], prefixes[0]["child"], prefixes[0]["sibling"] = -1, BLANK, -1, -1
    prefixes[0]["position"], prefixes[0]["state"], prefixes[0]["spot"] = 0, fusion.weights.begin, 0
    prefixes[0]["row"], prefixes[0]["children"], prefixes[0]["word"] = 0, 0, OUTSIDE
    prefixes[0]["next_state"], prefixes[0]["scored_word"] = 0, NOT_SCORED
    prefixes[0]["char_state"], prefixes[0]["hot"] = fusion.weights.begin, fusion.hot.begin
    prefixes[0]["word_score"], prefixes[0]["score"], prefixes[0]["estimate"] = 0.0, 0.0, 0.0
    beam[0]["node"], beam[0]["blank"], beam[0]["last"], beam[0]["total"] = 0, 0.0, IMPOSSIBLE, 0.0
    return SearchState(prefixes, 1, beam)


@compiled
def proceed(state: SearchState, row: Doubles, pruning: Pruning, fusion: Fusion) -> SearchState:
    """Return the state after one more frame with log-probabilities (V,)."""
    beam = state.beam
    if len(beam) == 0:
        return state
    if row[BLANK] >= pruning.blank_skip:
        _add_blank(beam, row[BLANK])
        return state
    frame = _frame(row, pruning.token_threshold)
    unextended = _keep_prefixes(state, frame, fusion.weights.space)
    lowest = unextended.highest - pruning.beam_threshold
    if len(frame.tokens) == 0 and unextended.lowest >= lowest and unextended.lowest > IMPOSSIBLE:
        return SearchState(state.prefixes, state.used, unextended.beam)
    extended = _extend_prefixes(state, fusion, unextended, frame, pruning)
    values = np.empty(len(unextended.beam) + len(extended.lasts))
    for index in range(len(unextended.beam)):
        values[index] = unextended.beam[index]["value"]
    for index in range(len(extended.lasts)):
        values[len(unextended.beam) + index] = extended.lasts[index] + extended.prefixes[index]["estimate"]
    # Impossible prefixes are dropped, however wide the beam is.
    kept = best_indices(values, pruning.width, max(values.max() - pruning.beam_threshold, extended.lowest, -1e300))
    return _next_state(state, unextended.beam, extended, kept)


@compiled
def _add_blank(beam: Rows, blank: float) -> None:
    """Let a frame pass in which only blank is tried; the beam is changed in place."""
    for index in range(len(beam)):
        beam[index]["blank"] = beam[index]["total"] = beam[index]["total"] + blank
        beam[index]["last"] = IMPOSSIBLE


@inlined
def _frame(row: Doubles, threshold: float) -> Frame:
    """Return the frame with the tokens, without blank, that are at most `threshold` below the best one."""
    tokens, count, highest = np.empty(len(row), np.int32), 0, IMPOSSIBLE
    least = row.max() - threshold
    for token in range(len(row)):
        if row[token] >= least and token != BLANK:
            tokens[count] = token
            count += 1
            highest = max(highest, row[token])
    return Frame(row, tokens[:count], least, highest)


@compiled
def _keep_prefixes(state: SearchState, frame: Frame, space: int) -> Unextended:
    """Return the beam after a frame in which prefixes grow only into others of the beam."""
    prefixes, beam, row = state.prefixes, state.beam, frame.row
    kept, lowest, highest = np.empty(len(beam), KEPT), np.inf, IMPOSSIBLE
    for index in range(len(beam)):
        node, total = beam[index]["node"], beam[index]["total"]
        token = prefixes[node]["token"]
        last = IMPOSSIBLE
        if space >= 0 and (node == 0 or token == space):
            last = total + row[space]
        elif node:
            last = beam[index]["last"] + row[token]
        kept[index]["node"], kept[index]["blank"], kept[index]["last"] = node, total + row[BLANK], last
        kept[index]["child"] = kept[index]["next"] = -1
    for index in range(len(beam)):
        node, last = beam[index]["node"], kept[index]["last"]
        parent = prefixes[node]["parent"]
        before = prefixes[parent]["position"] if node else -1
        if before >= 0:
            kept[index]["next"], kept[before]["child"] = kept[before]["child"], index
            token = prefixes[node]["token"]
            if row[token] >= frame.threshold:
                # Without a blank between them, equal tokens are merged.
                repeated = parent > 0 and token == prefixes[parent]["token"]
                last = log_add(last, (beam[before]["blank"] if repeated else beam[before]["total"]) + row[token])
                kept[index]["last"] = last
        total = log_add(kept[index]["blank"], last)
        value = total + prefixes[node]["estimate"]
        kept[index]["total"], kept[index]["value"] = total, value
        lowest, highest = min(lowest, value), max(highest, value)
    return Unextended(kept, lowest, highest)


@inlined
def _leading_value(state: SearchState, fusion: Fusion, frame: Frame, scratch: Any) -> float:
    """Return the value of the best prefix plus the best token of the frame, or -inf if that is no other prefix."""
    prefixes, beam, (nodes, words) = state.prefixes, state.beam, fusion.lexicon
    leader, highest = 0, IMPOSSIBLE
    for index in range(len(beam)):
        value = beam[index]["total"] + prefixes[beam[index]["node"]]["estimate"]
        if value > highest:
            leader, highest = index, value
    node, token, value = beam[leader]["node"], int(frame.row.argmax()), IMPOSSIBLE
    if token != BLANK and token != (prefixes[node]["token"] if node else fusion.weights.space):
        scratch["spot"] = descend(nodes, prefixes[node]["spot"], token)
        scratch["word"] = likeliest_word(nodes, words, prefixes[node]["spot"])
        extend(fusion, nodes, prefixes[node], token, scratch)
        value = beam[leader]["total"] + frame.row[token] + scratch["estimate"]
    return float(value)


@inlined
def _choose_tokens(weights: Weights, lexicon: Lexicon, start: tuple[int, float], frame: Frame, choices: Rows) -> int:
    """Set the tokens by which a prefix may grow, in order, and return their number.

    `start`: the prefix's node in the lexicon, and the least log-probability of a token that may be kept.
    """
    row, tokens, space, (spot, least), (nodes, words) = frame.row, frame.tokens, weights.space, start, lexicon
    count, child, end, first, last = 0, 0, 0, 0, 0
    if spot >= 0:
        child, end = nodes[spot]["first_child"], nodes[spot + 1]["first_child"]
        first, last = nodes[spot]["first_word"], nodes[spot + 1]["first_word"]
    only_known = weights.words and weights.unknown_score == IMPOSSIBLE
    if space >= 0 and row[space] >= least:
        for index in range(first, last if only_known else max(last, first + 1)):
            choices[count]["token"], choices[count]["spot"] = space, 0
            choices[count]["word"] = words[index] if index < last else OUTSIDE
            count += 1
    if only_known and end - child < 2 * len(tokens):
        # Only words of the lexicon are allowed: try its few continuations instead of all tokens.
        for node in range(child, end):
            if row[nodes[node]["token"]] >= least:
                choices[count]["token"], choices[count]["spot"] = nodes[node]["token"], node
                choices[count]["word"] = OUTSIDE
                count += 1
    else:
        for token in tokens:
            if row[token] >= least and token != space:
                while child < end and nodes[child]["token"] < token:
                    child += 1
                known = child < end and nodes[child]["token"] == token
                choices[count]["token"], choices[count]["spot"] = token, child if known else OUTSIDE
                choices[count]["word"] = OUTSIDE
                count += 1
    return count


@compiled
def _has_child(prefixes: Rows, kept: Rows, index: int, token: int, word: int) -> bool:
    """Return whether a prefix of the beam with one token more, which ends a word or not, is in the beam."""
    child = kept[index]["child"]
    while child >= 0:
        other = prefixes[kept[child]["node"]]
        if other["token"] == token and other["word"] == word:
            return True
        child = kept[child]["next"]
    return False


@compiled
def _extend_prefixes(
    state: SearchState, fusion: Fusion, unextended: Unextended, frame: Frame, pruning: Pruning
) -> Extended:
    """Return the prefixes of the beam plus one token that are not in the beam and may be kept."""
    if len(frame.tokens) == 0:
        return Extended(np.empty(0, PREFIX), np.empty(0), IMPOSSIBLE)
    prefixes, beam, kept, row = state.prefixes, state.beam, unextended.beam, frame.row
    nodes, weights = fusion.lexicon.nodes, fusion.weights
    space, rise, width, sharp = weights.space, weights.rise, pruning.width, weights.words and not weights.hot
    more = len(beam) * (len(frame.tokens) + weights.homophones - 1)
    extended, lasts, count = np.empty(1 + more, PREFIX), np.empty(more), 0
    choices = np.empty(len(row) + weights.homophones, CHOICE)
    for token in frame.tokens:
        choices[token]["seen"] = -1
    # Near the best value that is kept in the end. The unextended prefixes alone may lie far below it.
    top = max(unextended.highest, _leading_value(state, fusion, frame, extended[0]))
    bound, counts = initial_bound(unextended, top, pruning, more)
    for index in range(len(beam)):
        node, blank, total = beam[index]["node"], beam[index]["blank"], beam[index]["total"]
        # Upper limits of the estimate: a character only lowers that of the word, a space replaces it by the score.
        sure, most = prefixes[node]["score"], prefixes[node]["estimate"] + rise
        least = max(frame.threshold, bound[0]["lowest"] - total - max(most, sure + rise))
        if not frame.highest >= least:
            continue
        own = prefixes[node]["token"] if node else space
        child = kept[index]["child"]
        while child >= 0:
            choices[prefixes[kept[child]["node"]]["token"]]["seen"] = index
            child = kept[child]["next"]
        start = prefixes[node]["spot"], least
        for choice in range(_choose_tokens(weights, fusion.lexicon, start, frame, choices)):
            token, spot, word = choices[choice]["token"], choices[choice]["spot"], choices[choice]["word"]
            seen = choices[token]["seen"] == index
            several = token == space and weights.homophones > 1
            seen = seen and (not several or _has_child(prefixes, kept, index, space, word))
            if seen or (token == space and own == space):
                continue
            score, limit = (blank if token == own else total) + row[token], most
            if token == space:
                limit = sure + rise
            elif sharp:
                best = weights.unknown_word
                if spot >= 0:
                    best = max(best, weights.lm_weight * nodes[spot]["best"])
                limit = sure + weights.word_bonus + best
            if score + limit < bound[0]["lowest"] or score == IMPOSSIBLE:
                continue
            extended[count]["spot"], extended[count]["word"] = spot, word
            extend(fusion, nodes, prefixes[node], token, extended[count])
            value = score + extended[count]["estimate"]
            if value < bound[0]["lowest"] or value == IMPOSSIBLE:
                continue
            extended[count]["parent"], extended[count]["token"], lasts[count] = node, token, score
            count_value(bound[0], counts, value, width)
            count += 1
    return Extended(extended[:count], lasts[:count], bound[0]["lowest"])


@compiled
def _with_capacity(prefixes: Rows, used: int, more: int) -> Rows:
    """Return the prefixes with capacity for `more` of them."""
    if used + more <= len(prefixes):
        return prefixes
    larger = np.empty(2 * (used + more), PREFIX)
    larger[:used] = prefixes[:used]
    return larger


@compiled
def _child(prefixes: Rows, parent: int, token: int, word: int) -> int:
    """Return the prefix with one token more, which ends a word or not, or -1 if the tree has none."""
    if not prefixes[parent]["children"] & (1 << token % 31):
        return -1
    child = int(prefixes[parent]["child"])
    while child >= 0 and (prefixes[child]["token"] != token or prefixes[child]["word"] != word):
        child = int(prefixes[child]["sibling"])
    return child


@compiled
def _next_state(state: SearchState, unextended: Rows, more: Extended, kept: NDArray[np.int64]) -> SearchState:
    """Return the state with the kept prefixes as its beam; indices from len(unextended) on are of extended ones."""
    used, before, extended, lasts = state.used, len(unextended), more.prefixes, more.lasts
    prefixes = _with_capacity(state.prefixes, used, len(kept))
    beam = np.empty(len(kept), KEPT)
    for position in range(before):
        prefixes[unextended[position]["node"]]["position"] = -1
    for position in range(len(kept)):
        index = int(kept[position])
        if index < before:
            beam[position] = unextended[index]
        else:
            index -= before
            parent, token = int(extended[index]["parent"]), int(extended[index]["token"])
            node = _child(prefixes, parent, token, int(extended[index]["word"]))
            if node < 0:
                node = used
                used += 1
                prefixes[node] = extended[index]
                prefixes[node]["child"], prefixes[node]["sibling"] = -1, prefixes[parent]["child"]
                prefixes[node]["children"] = 0
                prefixes[parent]["child"] = node
                prefixes[parent]["children"] |= 1 << token % 31
            beam[position]["node"], beam[position]["blank"] = node, IMPOSSIBLE
            beam[position]["last"] = beam[position]["total"] = lasts[index]
        prefixes[beam[position]["node"]]["position"] = position
    return SearchState(prefixes, used, beam)


@compiled
def leading(state: SearchState, fusion: Fusion, rescored: bool) -> tuple[Ints, Ints, int]:
    """Return the tokens and words of the best prefix, and how many complete words at its beginning are final.

    The words are those of a SearchResult: the last one is the likeliest one without context, if a word may end there.
    Later prefixes extend those of the beam. So they begin with the words that all of these begin with, apart from those
    that cannot win any more; if texts are `rescored`, any of them can.
    """
    prefixes, beam, weights, (nodes, words) = state.prefixes, state.beam, fusion.weights, fusion.lexicon
    best, highest, shared, final = 0, IMPOSSIBLE, -1, 0
    for index in range(len(beam)):
        node = int(beam[index]["node"])
        value = beam[index]["total"] + prefixes[node]["estimate"]
        if value > highest:
            best, highest = node, value
        if not rescored and _is_beaten(state, index, weights):
            continue
        shared = node if shared < 0 else shared
        # A prefix has a higher index than its parent.
        while node != shared:
            if node > shared:
                node = int(prefixes[node]["parent"])
            else:
                shared = int(prefixes[shared]["parent"])
    while shared > 0:
        final += int(prefixes[shared]["token"] == weights.space)
        shared = int(prefixes[shared]["parent"])
    last = int(prefixes[best]["word"])
    if last == OUTSIDE:
        last = int(likeliest_word(nodes, words, prefixes[best]["spot"]))
    tokens, ended, _ = _spell(prefixes, np.array([best]), np.array([last]))
    return tokens, ended, final


@compiled
def _is_beaten(state: SearchState, index: int, weights: Weights) -> bool:
    """Return whether another prefix, whose score changes as this one's with the tokens to come, is far better."""
    prefixes, beam = state.prefixes, state.beam
    prefix = prefixes[beam[index]["node"]]
    blank, last = beam[index]["blank"] + prefix["score"], beam[index]["last"] + prefix["score"]
    for row in range(len(beam)):
        other = prefixes[beam[row]["node"]]
        if (
            beam[row]["blank"] + other["score"] >= blank + _FAR_BETTER
            and beam[row]["last"] + other["score"] >= last + _FAR_BETTER
            and other["token"] == prefix["token"]
            and not weights.network
            and not (weights.words and (other["state"] != prefix["state"] or other["spot"] != prefix["spot"]))
            and not (weights.characters and other["char_state"] != prefix["char_state"])
            and not (weights.hot and other["hot"] != prefix["hot"])
        ):
            return True
    return False


@compiled
def finish(state: SearchState, fusion: Fusion) -> SearchResult:
    """Return the texts of the beam after the last frame; the search can continue."""
    prefixes, beam, space, lexicon = state.prefixes, state.beam, fusion.weights.space, fusion.lexicon
    # A prefix has as many texts as words may end there, or one if none does. `starts`: the first text of each prefix.
    most, starts, count = len(beam) * fusion.weights.homophones, np.empty(len(beam), np.int64), 0
    nodes, words, acoustic = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most)
    for index in range(len(beam)):
        node, starts[index], first, last = beam[index]["node"], count, 0, 0
        spot = prefixes[node]["spot"]
        if spot >= 0:
            first, last = lexicon.nodes[spot]["first_word"], lexicon.nodes[spot + 1]["first_word"]
        for way in range(max(last - first, 1)):
            words[count] = lexicon.words[first + way] if first < last else prefixes[node]["word"]
            nodes[count], acoustic[count] = node, beam[index]["total"]
            count += 1
    nodes, words, acoustic, scores = nodes[:count], words[:count], acoustic[:count], np.empty(count)
    # A space at the end is dropped: the prefix before it, with the same word, is the same text.
    for text in range(count):
        if nodes[text] and prefixes[nodes[text]]["token"] == space:
            nodes[text] = prefixes[nodes[text]]["parent"]
            position = prefixes[nodes[text]]["position"]
            if position >= 0:
                other = starts[position]
                while words[other] != words[text]:
                    other += 1
                acoustic[other] = log_add(acoustic[other], acoustic[text])
                acoustic[text] = IMPOSSIBLE
    for text in range(count):
        scores[text] = final_score(fusion, prefixes, nodes[text], words[text])
    if count and scores.max() == IMPOSSIBLE:
        # Only words of the lexicon are allowed, and every text ends within a word: that word is dropped.
        for text in range(count):
            node = _last_space(prefixes, nodes[text], space)
            nodes[text], words[text] = max(prefixes[node]["parent"], 0), prefixes[node]["word"]
            scores[text] = final_score(fusion, prefixes, nodes[text], words[text])
    order = np.argsort(-(acoustic + scores), kind="mergesort")
    order = order[(acoustic + scores)[order] > IMPOSSIBLE]
    tokens, ended, ends = _spell(prefixes, nodes[order], words[order])
    return SearchResult(tokens, ended, ends, acoustic[order], scores[order])


@compiled
def _last_space(prefixes: Rows, node: int, space: int) -> int:
    """Return the longest prefix of a prefix that ends in a space, or the empty one."""
    while node and prefixes[node]["token"] != space:
        node = int(prefixes[node]["parent"])
    return int(node)


@compiled
def _spell(prefixes: Rows, nodes: NDArray[np.int64], lasts: NDArray[np.int64]) -> tuple[Ints, Ints, Ints]:
    """Return the tokens of prefixes, one prefix after another, the words that end with them, and the end of each.

    `lasts`: the words that end with the last tokens.
    """
    ends = np.zeros(len(nodes), np.int32)
    for index in range(len(nodes)):
        node, length = nodes[index], 0
        while node:
            node, length = np.int64(prefixes[node]["parent"]), length + 1
        ends[index] = length + (ends[index - 1] if index else 0)
    tokens = np.empty(ends[-1] if len(ends) else 0, np.int32)
    words = np.empty(len(tokens), np.int32)
    for index in range(len(nodes)):
        node, end = nodes[index], ends[index]
        while node:
            end -= 1
            tokens[end] = prefixes[node]["token"]
            words[end] = prefixes[node]["word"] if node != nodes[index] else lasts[index]
            node = np.int64(prefixes[node]["parent"])
    return tokens, words, ends
