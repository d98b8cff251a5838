// The beam search in C++: the functions of search.py, pruning.py, fusion.py and lexicon.py, and the queries of
// asr/lm/ngram/model.py, by the same names and with the same results. Those modules explain them and stay the reference.
//
// `begin(tokens, pruning, fusion, update)` takes the arrays of numpy as buffers, trusts their contents, and returns a
// search for `extend(search, log_probs)`, `leading(search, rescored)` and `finish(search)`. It is built for Python's
// stable interface, so that one file serves all versions.

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <numeric>
#include <optional>
#include <vector>

namespace {

constexpr double UNLIMITED = std::numeric_limits<double>::infinity();
constexpr double IMPOSSIBLE = -UNLIMITED;
constexpr int BLANK = 0, OUTSIDE = -1, UNKNOWN = 0, NOT_SCORED = -2;
constexpr int STEPS = 256;
constexpr double SPAN = 20.0, SLACK = 1e-7;
const double FAR_BETTER = std::log(16.0);

// ---- The data: what Python has as named tuples and structured arrays ----

struct Buffer {
    Py_buffer view{};
    ~Buffer() {
        if (view.obj) PyBuffer_Release(&view);
    }
    template <typename T> const T* as() const { return static_cast<const T*>(view.buf); }
    template <typename T> int count() const { return static_cast<int>(view.len / sizeof(T)); }
};

struct Pruning {
    int width;
    double token_threshold, beam_threshold, blank_skip;
};

struct Weights {
    int space;
    double word_bonus;
    int words, characters, network, hot;
    double lm_weight;
    int known;
    double unknown_score, floor, unknown_word;
    int begin, end, homophones;
    double rise;
};

struct Ngrams {
    Buffer words, log_probs, backoffs, first_child, suffix;
};

struct LexiconNode {
    int32_t first_child, token, first_word;
    float best;
};
static_assert(sizeof(LexiconNode) == 16);

struct Hotwords {
    Buffer after, gain, lookahead, keys;
    int begin;
};

struct Fusion {
    Weights weights;
    Ngrams arrays;
    Buffer lexicon_nodes, lexicon_words, ids, rows;
    Hotwords hot;
    int tokens;  // of the alphabet, with blank

    const LexiconNode& lexicon(int node) const { return lexicon_nodes.as<LexiconNode>()[node]; }
    // The words that end at a node: its first one, and the end of them.
    const int32_t* words(int node) const { return lexicon_words.as<int32_t>() + lexicon(node).first_word; }
    const int32_t* words_end(int node) const { return words(node + 1); }
    double row(int index, int token) const { return rows.as<float>()[static_cast<size_t>(index) * tokens + token]; }
    bool hot_words() const { return hot.keys.view.len > 0; }
    int hot_after(int state, int token, int word) const {
        const int width = hot.after.count<int32_t>() / hot.gain.count<double>();
        int column = token;
        if (hot_words()) column = word >= 0 ? hot.keys.as<int32_t>()[word] : 0;
        return hot.after.as<int32_t>()[state * width + column];
    }
};

struct Prefix {
    int32_t parent, token, child, sibling, position, state, spot, next_state, char_state, row, hot, children;
    int32_t word, scored_word;
    double word_score, score, estimate;
};

struct Kept {
    double blank, last, total, value;
    int32_t node, child, next;
};

struct Choice {
    int token, spot, word;
};

struct Text {
    int node, word;
    double acoustic, score;
};

struct Bound {
    double lowest, floor, steps;
    int level, above;
    int counts[STEPS];
};

// ---- asr/lm/ngram/model.py ----

int shortest_state(const Ngrams& arrays, int state) {
    const int32_t *first_child = arrays.first_child.as<int32_t>(), *suffix = arrays.suffix.as<int32_t>();
    while (state > 0 && first_child[state] == first_child[state + 1] && arrays.backoffs.as<float>()[state] == 0)
        state = suffix[state];
    return state;
}

int child_entry(const Ngrams& arrays, int entry, int word) {
    const int32_t *words = arrays.words.as<int32_t>(), *first_child = arrays.first_child.as<int32_t>();
    const int low = first_child[entry], high = first_child[entry + 1];
    if (entry == 0) return low + word;
    const int found = static_cast<int>(std::lower_bound(words + low, words + high, word) - words);
    return found < high && words[found] == word ? found : -1;
}

double advance(const Ngrams& arrays, int state, int word, int& next_state) {
    const int32_t* suffix = arrays.suffix.as<int32_t>();
    double log_prob = 0.0;
    int entry = child_entry(arrays, state, word);
    while (entry < 0) {
        log_prob += arrays.backoffs.as<float>()[state];
        state = suffix[state];
        entry = child_entry(arrays, state, word);
    }
    log_prob += arrays.log_probs.as<float>()[entry];
    next_state = shortest_state(arrays, entry < arrays.backoffs.count<float>() ? entry : suffix[entry]);
    return log_prob;
}

// ---- lexicon.py ----

int descend(const Fusion& fusion, int node, int token) {
    if (node < 0) return OUTSIDE;
    const LexiconNode* nodes = fusion.lexicon_nodes.as<LexiconNode>();
    const LexiconNode *low = nodes + nodes[node].first_child, *high = nodes + nodes[node + 1].first_child;
    const auto less = [](const LexiconNode& each, int wanted) { return each.token < wanted; };
    const LexiconNode* found = std::lower_bound(low, high, token, less);
    return found < high && found->token == token ? static_cast<int>(found - nodes) : OUTSIDE;
}

int likeliest_word(const Fusion& fusion, int node) {
    if (node < 0 || fusion.words(node) == fusion.words_end(node)) return OUTSIDE;
    return *fusion.words(node);
}

// ---- fusion.py ----

void end_word(const Fusion& fusion, Prefix& prefix, int word) {
    const Weights& weights = fusion.weights;
    prefix.word_score = weights.word_bonus;
    prefix.next_state = 0;
    prefix.scored_word = word;
    if (!weights.words) return;
    if (word < 0) {
        prefix.word_score += weights.unknown_score;
        if (weights.unknown_score == IMPOSSIBLE) return;
    }
    if (word < 0 || word >= weights.known) word = UNKNOWN;
    double log_prob = advance(fusion.arrays, prefix.state, word, prefix.next_state);
    if (word == UNKNOWN) log_prob = std::max(log_prob, weights.floor);
    prefix.word_score += weights.lm_weight * log_prob;
}

// Return the score of the likeliest word at a node of the lexicon or below it.
double best_word(const Fusion& fusion, int spot) {
    const Weights& weights = fusion.weights;
    double word = weights.unknown_word;
    if (spot >= 0) word = std::max(word, weights.lm_weight * fusion.lexicon(spot).best);
    return word;
}

void extend(const Fusion& fusion, Prefix& prefix, int token, Prefix& extended) {
    const Weights& weights = fusion.weights;
    double score = prefix.score, lookahead = 0.0;
    if (weights.characters) {
        const int id = fusion.ids.as<int32_t>()[token];
        score += weights.lm_weight * advance(fusion.arrays, prefix.char_state, id, extended.char_state);
    }
    if (weights.network) score += weights.lm_weight * fusion.row(prefix.row, token);
    if (token == weights.space) {
        if (prefix.scored_word != extended.word) end_word(fusion, prefix, extended.word);
        extended.state = prefix.next_state;
        score += prefix.word_score;
    } else if (weights.words) {
        extended.state = prefix.state;
        lookahead += weights.word_bonus + best_word(fusion, extended.spot);
    }
    if (weights.hot) {
        extended.hot = prefix.hot;
        if (token == weights.space || !fusion.hot_words()) {
            extended.hot = fusion.hot_after(prefix.hot, token, extended.word);
            score += fusion.hot.gain.as<double>()[extended.hot];
        }
        lookahead += fusion.hot.lookahead.as<double>()[extended.hot];
    }
    extended.scored_word = NOT_SCORED;
    extended.score = score;
    extended.estimate = score + lookahead;
}

double final_score(const Fusion& fusion, std::vector<Prefix>& prefixes, int node, int word) {
    const Weights& weights = fusion.weights;
    Prefix& prefix = prefixes[node];
    double score = prefix.score;
    int state = prefix.state, unused = 0;
    if (node && weights.space >= 0) {
        end_word(fusion, prefix, word);
        score += prefix.word_score;
        state = prefix.next_state;
        if (weights.hot) score += fusion.hot.gain.as<double>()[fusion.hot_after(prefix.hot, weights.space, word)];
    }
    if (weights.words) score += weights.lm_weight * advance(fusion.arrays, state, weights.end, unused);
    if (weights.characters)
        score += weights.lm_weight * advance(fusion.arrays, prefix.char_state, weights.end, unused);
    if (weights.network) score += weights.lm_weight * fusion.row(prefix.row, BLANK);
    return score;
}

// ---- pruning.py ----

double log_add(double left, double right) {
    if (left < right) std::swap(left, right);
    if (right < left - 40.0 || right == IMPOSSIBLE) return left;
    return left + std::log1p(std::exp(right - left));
}

void count_value(Bound& bound, double value, int width) {
    const double step = (value - bound.floor) * bound.steps;
    if (!(step >= bound.level)) return;
    ++bound.counts[static_cast<int>(std::min(step, STEPS - 1.0))];
    ++bound.above;
    while (bound.above - bound.counts[bound.level] >= width) {
        bound.above -= bound.counts[bound.level++];
        bound.lowest = std::max(bound.lowest, bound.floor + bound.level / bound.steps - SLACK);
    }
}

// ---- search.py ----

struct Frame {
    const double* row;
    std::vector<int> tokens;
    double threshold, highest;
    int best;
};

class Search {
public:
    Search(const Fusion& fusion, const Pruning& pruning)
        : fusion(fusion), weights(fusion.weights), pruning(pruning), seen(fusion.tokens),
          choices(fusion.tokens + weights.homophones), crowded(2 * static_cast<size_t>(pruning.width)) {
        Prefix empty{};
        empty.parent = empty.child = empty.sibling = -1;
        empty.state = empty.char_state = weights.begin;
        empty.word = OUTSIDE;
        empty.scored_word = NOT_SCORED;
        empty.hot = fusion.hot.begin;
        prefixes.push_back(empty);
        beam.push_back({0.0, IMPOSSIBLE, 0.0, 0.0, 0, -1, -1});
    }

    void proceed(const double* row) {
        if (row[BLANK] >= pruning.blank_skip) {
            for (Kept& each : beam) {
                each.blank = each.total = each.total + row[BLANK];
                each.last = IMPOSSIBLE;
            }
            return;
        }
        if (beam.empty()) return;
        set_frame(row);
        keep_prefixes();
        const double lowest = kept_highest - pruning.beam_threshold;
        if (frame.tokens.empty() && kept_lowest >= lowest && kept_lowest > IMPOSSIBLE) {
            std::swap(beam, kept);
            return;
        }
        extend_prefixes();
        values.clear();
        for (const Kept& each : kept) values.push_back(each.value);
        for (size_t index = 0; index < lasts.size(); ++index)
            values.push_back(lasts[index] + extended[index].estimate);
        const double highest = *std::max_element(values.begin(), values.end());
        choose_best(std::max({highest - pruning.beam_threshold, bound.lowest, -1e300}));
        set_beam();
        // The rows of a recurrent model are stored under the prefixes' numbers.
        if (prefixes.size() >= crowded && !weights.network) drop_prefixes();
    }

    // Set `best` and `ended` to the tokens and words of the best prefix; return how many complete words at its beginning
    // are final.
    int leading(bool rescored, std::vector<int>& best, std::vector<int>& ended) const {
        int leader = 0, shared = -1, final = 0;
        double highest = IMPOSSIBLE;
        for (const Kept& each : beam) {
            int node = each.node;
            const double value = each.total + prefixes[node].estimate;
            if (value > highest) {
                leader = node;
                highest = value;
            }
            if (!rescored && is_beaten(each)) continue;
            if (shared < 0) shared = node;
            while (node != shared) {
                int& later = node > shared ? node : shared;
                later = prefixes[later].parent;
            }
        }
        for (; shared > 0; shared = prefixes[shared].parent) final += prefixes[shared].token == weights.space;
        const Prefix& prefix = prefixes[leader];
        spell(leader, prefix.word == OUTSIDE ? likeliest_word(fusion, prefix.spot) : prefix.word, best, ended);
        return final;
    }

    // Set `tokens`, `words`, `ends`, `acoustic` and `scores` to those of the texts of the beam, best first.
    void finish() {
        for (std::vector<int>* each : {&tokens, &words, &ends}) each->clear();
        acoustic.clear();
        scores.clear();
        std::vector<Text> texts;
        std::vector<size_t> starts;
        for (const Kept& each : beam) {
            const Prefix& prefix = prefixes[each.node];
            starts.push_back(texts.size());
            if (prefix.spot >= 0)
                for (const int32_t* word = fusion.words(prefix.spot); word < fusion.words_end(prefix.spot); ++word)
                    texts.push_back({each.node, *word, each.total, 0.0});
            if (texts.size() == starts.back()) texts.push_back({each.node, prefix.word, each.total, 0.0});
        }
        for (Text& text : texts) {
            const Prefix& prefix = prefixes[text.node];
            if (!text.node || prefix.token != weights.space) continue;
            text.node = prefix.parent;
            const int position = prefixes[prefix.parent].position;
            if (position >= 0) {
                size_t other = starts[position];
                while (texts[other].word != text.word) ++other;
                texts[other].acoustic = log_add(texts[other].acoustic, text.acoustic);
                text.acoustic = IMPOSSIBLE;
            }
        }
        bool possible = texts.empty();
        for (Text& text : texts) {
            text.score = final_score(fusion, prefixes, text.node, text.word);
            possible = possible || text.score != IMPOSSIBLE;
        }
        for (Text& text : texts) {
            if (possible) break;
            const int node = last_space(text.node);
            text.word = prefixes[node].word;
            text.node = std::max(prefixes[node].parent, 0);
            text.score = final_score(fusion, prefixes, text.node, text.word);
        }
        const auto total = [](const Text& text) { return text.acoustic + text.score; };
        const auto better = [&](const Text& left, const Text& right) { return total(left) > total(right); };
        std::stable_sort(texts.begin(), texts.end(), better);
        for (const Text& text : texts) {
            if (!(total(text) > IMPOSSIBLE)) continue;
            spell(text.node, text.word, tokens, words);
            ends.push_back(static_cast<int>(tokens.size()));
            acoustic.push_back(text.acoustic);
            scores.push_back(text.score);
        }
    }

    const Fusion& fusion;
    std::vector<Prefix> prefixes;
    std::vector<Kept> beam;
    std::vector<int> tokens, words, ends;
    std::vector<double> acoustic, scores;

private:
    const Weights& weights;
    const Pruning pruning;
    Frame frame;
    std::vector<Kept> kept;
    double kept_lowest = 0.0, kept_highest = 0.0;
    std::vector<Prefix> extended;
    std::vector<double> lasts, values, sorted;
    std::vector<int> chosen, seen, moved;
    std::vector<Choice> choices;
    Bound bound;
    size_t crowded;  // the number of prefixes from which on those that are not needed are dropped

    bool is_beaten(const Kept& each) const {
        const Prefix& prefix = prefixes[each.node];
        const double blank = each.blank + prefix.score, last = each.last + prefix.score;
        return std::any_of(beam.begin(), beam.end(), [&](const Kept& other) {
            const Prefix& better = prefixes[other.node];
            return other.blank + better.score >= blank + FAR_BETTER && other.last + better.score >= last + FAR_BETTER &&
                   better.token == prefix.token && !weights.network &&
                   !(weights.words && (better.state != prefix.state || better.spot != prefix.spot)) &&
                   !(weights.characters && better.char_state != prefix.char_state) &&
                   !(weights.hot && better.hot != prefix.hot);
        });
    }

    void set_frame(const double* row) {
        frame.row = row;
        frame.tokens.clear();
        frame.highest = IMPOSSIBLE;
        frame.best = static_cast<int>(std::max_element(row, row + fusion.tokens) - row);
        frame.threshold = row[frame.best] - pruning.token_threshold;
        for (int token = 0; token < fusion.tokens; ++token) {
            if (token == BLANK || !(row[token] >= frame.threshold)) continue;
            frame.tokens.push_back(token);
            frame.highest = std::max(frame.highest, row[token]);
        }
    }

    void keep_prefixes() {
        const double* row = frame.row;
        const int space = weights.space;
        kept.resize(beam.size());
        kept_lowest = UNLIMITED;
        kept_highest = IMPOSSIBLE;
        for (size_t index = 0; index < beam.size(); ++index) {
            const Kept& each = beam[index];
            const int token = prefixes[each.node].token;
            double last = IMPOSSIBLE;
            if (space >= 0 && (each.node == 0 || token == space))
                last = each.total + row[space];
            else if (each.node)
                last = each.last + row[token];
            kept[index] = {each.total + row[BLANK], last, 0.0, 0.0, each.node, -1, -1};
        }
        for (size_t index = 0; index < beam.size(); ++index) {
            Kept& each = kept[index];
            const Prefix& prefix = prefixes[each.node];
            const int before = each.node ? prefixes[prefix.parent].position : -1;
            if (before >= 0) {
                each.next = kept[before].child;
                kept[before].child = static_cast<int>(index);
                if (row[prefix.token] >= frame.threshold) {
                    const bool repeated = prefix.parent > 0 && prefix.token == prefixes[prefix.parent].token;
                    const double reached = repeated ? beam[before].blank : beam[before].total;
                    each.last = log_add(each.last, reached + row[prefix.token]);
                }
            }
            each.total = log_add(each.blank, each.last);
            each.value = each.total + prefix.estimate;
            kept_lowest = std::min(kept_lowest, each.value);
            kept_highest = std::max(kept_highest, each.value);
        }
    }

    double leading_value() {
        int leader = 0;
        double highest = IMPOSSIBLE;
        for (size_t index = 0; index < beam.size(); ++index) {
            const double value = beam[index].total + prefixes[beam[index].node].estimate;
            if (value > highest) {
                leader = static_cast<int>(index);
                highest = value;
            }
        }
        Prefix& prefix = prefixes[beam[leader].node];
        const int token = frame.best;
        if (token == BLANK || token == (beam[leader].node ? prefix.token : weights.space)) return IMPOSSIBLE;
        Prefix scratch = prefix;
        scratch.spot = descend(fusion, prefix.spot, token);
        scratch.word = likeliest_word(fusion, prefix.spot);
        extend(fusion, prefix, token, scratch);
        return beam[leader].total + frame.row[token] + scratch.estimate;
    }

    void set_bound(double top, size_t more) {
        double lowest = top - pruning.beam_threshold;
        if (kept.size() >= static_cast<size_t>(pruning.width)) lowest = std::max(lowest, kept_lowest);
        const double span = std::min(SPAN, top - lowest);
        bound.lowest = lowest - SLACK;
        bound.level = bound.above = 0;
        bound.floor = top - span;
        bound.steps = span > 0 ? STEPS / span : 0.0;
        // If all can be kept, none is counted: every comparison with NaN is false.
        if (kept.size() + more <= static_cast<size_t>(pruning.width)) {
            bound.floor = std::numeric_limits<double>::quiet_NaN();
            return;
        }
        std::fill(bound.counts, bound.counts + STEPS, 0);
        for (const Kept& each : kept) count_value(bound, each.value, pruning.width);
    }

    // Set the first of the choices, and return the end of them.
    const Choice* choose_tokens(int spot, double least) {
        const double* row = frame.row;
        const int space = weights.space;
        const int32_t *first = nullptr, *last = nullptr;
        int child = 0, end = 0;
        if (spot >= 0) {
            child = fusion.lexicon(spot).first_child;
            end = fusion.lexicon(spot + 1).first_child;
            first = fusion.words(spot);
            last = fusion.words_end(spot);
        }
        Choice* choice = choices.data();
        const bool only_known = weights.words && weights.unknown_score == IMPOSSIBLE;
        if (space >= 0 && row[space] >= least) {
            for (const int32_t* word = first; word < last; ++word) *choice++ = {space, 0, *word};
            if (first == last && !only_known) *choice++ = {space, 0, OUTSIDE};
        }
        if (only_known && end - child < 2 * static_cast<int>(frame.tokens.size())) {
            for (int node = child; node < end; ++node) {
                const int token = fusion.lexicon(node).token;
                if (row[token] >= least) *choice++ = {token, node, OUTSIDE};
            }
            return choice;
        }
        for (const int token : frame.tokens) {
            if (!(row[token] >= least) || token == space) continue;
            while (child < end && fusion.lexicon(child).token < token) ++child;
            const bool known = child < end && fusion.lexicon(child).token == token;
            *choice++ = {token, known ? child : OUTSIDE, OUTSIDE};
        }
        return choice;
    }

    bool has_child(int index, int token, int word) const {
        for (int child = kept[index].child; child >= 0; child = kept[child].next) {
            const Prefix& other = prefixes[kept[child].node];
            if (other.token == token && other.word == word) return true;
        }
        return false;
    }

    void extend_prefixes() {
        extended.clear();
        lasts.clear();
        bound.lowest = IMPOSSIBLE;
        if (frame.tokens.empty()) return;
        const int space = weights.space;
        const bool sharp = weights.words && !weights.hot;
        for (const int token : frame.tokens) seen[token] = -1;
        const size_t more = beam.size() * (frame.tokens.size() + weights.homophones - 1);
        set_bound(std::max(kept_highest, leading_value()), more);
        for (size_t index = 0; index < beam.size(); ++index) {
            const Kept& each = beam[index];
            Prefix& prefix = prefixes[each.node];
            const double sure = prefix.score, most = prefix.estimate + weights.rise;
            const double promising = bound.lowest - each.total - std::max(most, sure + weights.rise);
            const double least = std::max(frame.threshold, promising);
            if (!(frame.highest >= least)) continue;
            const int own = each.node ? prefix.token : space;
            for (int child = kept[index].child; child >= 0; child = kept[child].next)
                seen[prefixes[kept[child].node].token] = static_cast<int>(index);
            const Choice* end = choose_tokens(prefix.spot, least);
            for (const Choice* choice = choices.data(); choice < end; ++choice) {
                const auto [token, spot, word] = *choice;
                bool in_beam = seen[token] == static_cast<int>(index);
                if (in_beam && token == space && weights.homophones > 1) in_beam = has_child(index, space, word);
                if (in_beam || (token == space && own == space)) continue;
                const double score = (token == own ? each.blank : each.total) + frame.row[token];
                double limit = most;
                if (token == space)
                    limit = sure + weights.rise;
                else if (sharp)
                    limit = sure + weights.word_bonus + best_word(fusion, spot);
                if (score + limit < bound.lowest || score == IMPOSSIBLE) continue;
                Prefix longer = prefix;
                longer.parent = each.node;
                longer.spot = spot;
                longer.word = word;
                extend(fusion, prefix, token, longer);
                const double value = score + longer.estimate;
                if (value < bound.lowest || value == IMPOSSIBLE) continue;
                longer.token = token;
                extended.push_back(longer);
                lasts.push_back(score);
                count_value(bound, value, pruning.width);
            }
        }
    }

    // Set `chosen` to the indices, ascending, of the highest values of at least `lowest`; of equal ones the first.
    void choose_best(double lowest) {
        chosen.clear();
        for (size_t index = 0; index < values.size(); ++index)
            if (values[index] >= lowest) chosen.push_back(static_cast<int>(index));
        if (chosen.size() <= static_cast<size_t>(pruning.width)) return;
        sorted.clear();
        for (const int index : chosen) sorted.push_back(values[index]);
        std::nth_element(sorted.begin(), sorted.begin() + pruning.width - 1, sorted.end(), std::greater<>());
        const double least = sorted[pruning.width - 1];
        const auto higher = [&](int index) { return values[index] > least; };
        auto ties = pruning.width - std::count_if(chosen.begin(), chosen.end(), higher);
        const auto dropped = [&](int index) { return values[index] < least || (values[index] == least && ties-- <= 0); };
        size_t count = 0;
        for (const int index : chosen)
            if (!dropped(index)) chosen[count++] = index;
        chosen.resize(count);
    }

    int child_of(int parent, int token, int word) const {
        if (!(prefixes[parent].children & (1 << token % 31))) return -1;
        int child = prefixes[parent].child;
        while (child >= 0 && (prefixes[child].token != token || prefixes[child].word != word))
            child = prefixes[child].sibling;
        return child;
    }

    void set_beam() {
        for (const Kept& each : kept) prefixes[each.node].position = -1;
        beam.clear();
        for (const int index : chosen) {
            const int more = index - static_cast<int>(kept.size());
            if (more < 0) {
                beam.push_back(kept[index]);
            } else {
                Prefix& longer = extended[more];
                int node = child_of(longer.parent, longer.token, longer.word);
                if (node < 0) {
                    node = static_cast<int>(prefixes.size());
                    Prefix& parent = prefixes[longer.parent];
                    longer.child = -1;
                    longer.sibling = parent.child;
                    longer.children = 0;
                    parent.child = node;
                    parent.children |= 1 << longer.token % 31;
                    prefixes.push_back(longer);
                }
                beam.push_back({IMPOSSIBLE, lasts[more], lasts[more], 0.0, node, -1, -1});
            }
            prefixes[beam.back().node].position = static_cast<int>(beam.size()) - 1;
        }
    }

    // Drop the prefixes that no prefix of the beam begins with; the others keep their order.
    void drop_prefixes() {
        moved.assign(prefixes.size(), -1);
        moved[0] = 0;
        for (const Kept& each : beam)
            for (int node = each.node; moved[node] < 0; node = prefixes[node].parent) moved[node] = 0;
        int count = 0;
        for (size_t node = 0; node < moved.size(); ++node) {
            if (moved[node] < 0) continue;
            Prefix prefix = prefixes[node];
            prefix.child = prefix.sibling = -1;
            prefix.children = 0;
            if (node) {
                prefix.parent = moved[prefix.parent];
                Prefix& parent = prefixes[prefix.parent];
                prefix.sibling = parent.child;
                parent.child = count;
                parent.children |= 1 << prefix.token % 31;
            }
            moved[node] = count;
            prefixes[count++] = prefix;
        }
        prefixes.resize(count);
        for (Kept& each : beam) each.node = moved[each.node];
        crowded = 2 * (prefixes.size() + pruning.width);
    }

    int last_space(int node) const {
        while (node && prefixes[node].token != weights.space) node = prefixes[node].parent;
        return node;
    }

    // Append the tokens of a prefix, and the words that end with them.
    void spell(int node, int last, std::vector<int>& tokens, std::vector<int>& words) const {
        const size_t start = tokens.size();
        for (int each = node; each; each = prefixes[each].parent) {
            tokens.push_back(prefixes[each].token);
            words.push_back(each == node ? last : prefixes[each].word);
        }
        std::reverse(tokens.begin() + start, tokens.end());
        std::reverse(words.begin() + start, words.end());
    }
};

// ---- The interface to Python ----

template <typename T> PyObject* bytes(const std::vector<T>& values) {
    return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

// A search with its data, as Python holds it.
struct Session {
    Fusion fusion;
    Pruning pruning;
    PyObject* update = nullptr;
    std::optional<Search> search;
    ~Session() { Py_XDECREF(update); }

    // Call update(nodes, parents, tokens) of the beam, which returns the recurrent model's rows and the row of each
    // prefix. Return whether it has raised no error.
    bool update_rows() {
        std::vector<int32_t> nodes, parents, tokens;
        for (const Kept& each : search->beam) {
            nodes.push_back(each.node);
            parents.push_back(search->prefixes[each.node].parent);
            tokens.push_back(search->prefixes[each.node].token);
        }
        PyObject* result = PyObject_CallFunction(update, "NNN", bytes(nodes), bytes(parents), bytes(tokens));
        Buffer rows, indices;
        const bool valid = result && PyArg_ParseTuple(result, "y*y*", &rows.view, &indices.view);
        Py_XDECREF(result);
        if (!valid) return false;
        std::swap(fusion.rows.view, rows.view);
        for (size_t index = 0; index < nodes.size(); ++index)
            search->prefixes[nodes[index]].row = indices.as<int32_t>()[index];
        return true;
    }
};

constexpr const char* SESSION = "asr.decoding.beam.native.Session";

Session* session_of(PyObject* capsule) { return static_cast<Session*>(PyCapsule_GetPointer(capsule, SESSION)); }

void destroy(PyObject* capsule) { delete session_of(capsule); }

// Run a function without the interpreter's lock. Return whether there was enough memory; if not, raise MemoryError.
template <typename Function> bool unlocked(Function function) {
    PyThreadState* thread = PyEval_SaveThread();
    bool enough_memory = true;
    try {
        function();
    } catch (const std::bad_alloc&) {
        enough_memory = false;
    }
    PyEval_RestoreThread(thread);
    if (!enough_memory) PyErr_NoMemory();
    return enough_memory;
}

PyObject* begin(PyObject*, PyObject* arguments) try {
    auto session = std::make_unique<Session>();
    Pruning& pruning = session->pruning;
    Fusion& fusion = session->fusion;
    Weights& weights = fusion.weights;
    Ngrams& arrays = fusion.arrays;
    PyObject* update;
    if (!PyArg_ParseTuple(
            arguments, "i(iddd)((idppppdidddiiid)(y*y*y*y*y*)(y*y*)y*y*(y*y*y*iy*))O", &fusion.tokens, &pruning.width,
            &pruning.token_threshold, &pruning.beam_threshold, &pruning.blank_skip, &weights.space,
            &weights.word_bonus, &weights.words, &weights.characters, &weights.network, &weights.hot,
            &weights.lm_weight, &weights.known, &weights.unknown_score, &weights.floor, &weights.unknown_word, &weights.begin,
            &weights.end, &weights.homophones, &weights.rise, &arrays.words.view, &arrays.log_probs.view, &arrays.backoffs.view,
            &arrays.first_child.view, &arrays.suffix.view, &fusion.lexicon_nodes.view, &fusion.lexicon_words.view, &fusion.ids.view,
            &fusion.rows.view, &fusion.hot.after.view, &fusion.hot.gain.view, &fusion.hot.lookahead.view,
            &fusion.hot.begin, &fusion.hot.keys.view, &update))
        return nullptr;
    session->search.emplace(fusion, pruning);
    if (update != Py_None) {
        Py_INCREF(update);
        session->update = update;
        if (!session->update_rows()) return nullptr;
    }
    PyObject* capsule = PyCapsule_New(session.get(), SESSION, destroy);
    if (capsule) session.release();
    return capsule;
} catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
}

PyObject* extend_search(PyObject*, PyObject* arguments) try {
    PyObject* capsule;
    Buffer log_probs;
    if (!PyArg_ParseTuple(arguments, "Oy*", &capsule, &log_probs.view)) return nullptr;
    Session* session = session_of(capsule);
    if (!session) return nullptr;
    const double* row = log_probs.as<double>();
    const double* end = row + log_probs.count<double>();
    const int tokens = session->fusion.tokens;
    for (; session->update && row < end; row += tokens) {
        session->search->proceed(row);
        if (!session->update_rows()) return nullptr;
    }
    const bool done = unlocked([&] {
        for (; row < end; row += tokens) session->search->proceed(row);
    });
    if (!done) return nullptr;
    Py_RETURN_NONE;
} catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
}

PyObject* leading(PyObject*, PyObject* arguments) {
    PyObject* capsule;
    int rescored;
    if (!PyArg_ParseTuple(arguments, "Op", &capsule, &rescored)) return nullptr;
    Session* session = session_of(capsule);
    if (!session) return nullptr;
    std::vector<int> tokens, words;
    int final = 0;
    if (!unlocked([&] { final = session->search->leading(rescored, tokens, words); })) return nullptr;
    return Py_BuildValue("NNi", bytes(tokens), bytes(words), final);
}

PyObject* finish(PyObject*, PyObject* capsule) {
    Session* session = session_of(capsule);
    if (!session || !unlocked([&] { session->search->finish(); })) return nullptr;
    const Search& search = *session->search;
    return Py_BuildValue("NNNNN", bytes(search.tokens), bytes(search.words), bytes(search.ends), bytes(search.acoustic),
                         bytes(search.scores));
}

PyMethodDef methods[] = {{"begin", begin, METH_VARARGS, nullptr},
                         {"extend", extend_search, METH_VARARGS, nullptr},
                         {"leading", leading, METH_VARARGS, nullptr},
                         {"finish", finish, METH_O, nullptr},
                         {nullptr, nullptr, 0, nullptr}};

// decode.py does not use an extension with another number: an editable install has that of an older version.
int add_interface(PyObject* module) { return PyModule_AddIntConstant(module, "INTERFACE", 4); }

PyModuleDef_Slot slots[] = {{Py_mod_exec, reinterpret_cast<void*>(add_interface)}, {0, nullptr}};
PyModuleDef module = {PyModuleDef_HEAD_INIT, "native", nullptr, 0, methods, slots, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit_native() { return PyModuleDef_Init(&module); }
