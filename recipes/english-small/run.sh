#!/usr/bin/env bash
# The bundled English model: from corpora to a packed, named model.
# usage: recipes/english-small/run.sh ROOT TEXT [RUN] [SETTING...]
#        ROOT: the folder that holds LibriSpeech/ (train-clean-5, train-clean-100 or a part of it, dev-clean) and an4/
#        TEXT: training text of the language model, one sentence per line (.gz and .bz2 too). Several files are separated by
#        colons: books.txt.bz2:train-clean-100.txt.gz
#        RUN: the output folder (runs/english-small); SETTING: more arguments of asr train, such as --seed 2
#        TRAIN="SUBSET..." in the environment: the subsets to train on (train-clean-5 train-clean-100). They must not share
#        utterances: train-clean-5 is part of the complete train-clean-100
#        MORE="MANIFEST..." in the environment: more training speech, as asr prepare writes its manifests (none)
#        DEV="MANIFEST..." in the environment: sets to tune the decoder on, besides dev-clean and AN4's dev set (none)
#        NOISE=N, SPELLED=N in the environment: clips of noise and sentences of spelled words to generate (500, 150000)
#        DICTIONARY=FILE in the environment: CMUdict; espeak-ng pronounces other words, which needs asr[tts] (none: the
#        network outputs characters only)
#        TEST="SUBSET..." in the environment: the subsets to evaluate on at the end (none)
#        CARD=FILE in the environment: the card of the model (default: a short one is written)
set -euo pipefail
root=$(realpath "${1:?usage: run.sh ROOT TEXT [RUN] [SETTING...]}")
IFS=: read -ra text <<< "${2:?usage: run.sh ROOT TEXT [RUN] [SETTING...]}"
for i in "${!text[@]}"; do text[i]=$(realpath "${text[i]}"); done
run=${3:-}
[[ -z $run || $run == /* ]] || run=$PWD/$run
card=${CARD:+$(realpath "$CARD")}
dictionary=${DICTIONARY:+$(realpath "$DICTIONARY")}
cd "$(dirname "$0")/../.."
PATH=$PATH:$PWD/.venv/bin
run=${run:-runs/english-small}
name=english-small
read -ra train <<< "${TRAIN:-train-clean-5 train-clean-100}"
read -ra test <<< "${TEST:-}"
read -ra more <<< "${MORE:-}"
read -ra dev <<< "${DEV:-}"
manifests=data/manifests/$name
mkdir -p "$run"

asr prepare librispeech "$root" "${train[@]}" dev-clean "${test[@]}" --out "$manifests"
asr prepare an4 "$root/an4" --out "$manifests/an4"
joined=("$manifests/an4/train.jsonl")
for subset in "${train[@]}"; do joined+=("$manifests/$subset.jsonl"); done
python recipes/$name/noise.py "$manifests/noise" "${NOISE:-500}"
joined+=("$manifests/noise/noise.jsonl" "${more[@]}")
asr prepare join "${joined[@]}" --out "$manifests" --name train

# Books have no spelled words, codes and telephone numbers: generated sentences of them, and AN4's ten times, so that they
# count beside millions of sentences. Of 44 million words 15 million n-grams remain, 36 MB packed. All words of the
# dictionary are known.
case ${text[-1]} in *.gz) cat=zcat ;; *.bz2) cat=bzcat ;; *) cat=cat ;; esac
$cat "${text[-1]}" | sed -n '1,30000{s/^[0-9-]* //;p}' > "$run/to-spell.txt"
python recipes/$name/spelled.py "$run/to-spell.txt" "${SPELLED:-150000}" > "$run/spelled.txt"
an4=(); for _ in {1..10}; do an4+=("$manifests/an4/train.jsonl"); done
known=()
if [[ -n $dictionary ]]; then
    case $dictionary in *.gz) cat=zcat ;; *) cat=cat ;; esac
    $cat "$dictionary" | sed 's/[ (].*//' | tr a-z A-Z | grep -E "^[A-Z']*[A-Z][A-Z']*$" | sort -u > "$run/known.txt"
    known=(--vocabulary "$run/known.txt")
fi
asr lm train "${text[@]}" "$run/spelled.txt" "${an4[@]}" --order 4 --cutoffs 0,0,0,1 --min-count 3 "${known[@]}" \
    --prune 6e-9 --out "$run/words.bin"

# The network outputs the phonemes of the words, too, and the search finds words by them.
data=(--train "$manifests/train.jsonl" --dev "$manifests/dev-clean.jsonl")
pronounced=()
if [[ -n $dictionary ]]; then
    asr lm pronounce "$run/words.bin" "$manifests/train.jsonl" --dictionary "$dictionary" --out "$run/words.dict.gz"
    pronounced=(--pronunciations "$run/words.dict.gz")
fi
data+=("${pronounced[@]}")
asr train recipes/$name/recipe.toml "${data[@]}" --out "$run/first" "${@:4}"

# The second training starts from the first, with more masks and dropout against overfitting.
asr train recipes/$name/masks.toml --from "$run/first/best.safetensors" "${data[@]}" --out "$run/second" "${@:4}"

# The third training adds noise, reverberation, telephone bands, codecs, silence, changes of level and clicks.
asr train recipes/$name/robust.toml --from "$run/second/best.safetensors" "${data[@]}" --out "$run" "${@:4}"

asr prepare join "$manifests/dev-clean.jsonl" "$manifests/an4/dev.jsonl" "${dev[@]}" --out "$manifests" --name tune
# An LSTM of the more frequent words rescores the texts of the search: one epoch, an hour of one core.
asr lm train "${text[@]}" "$run/spelled.txt" "$manifests/an4/train.jsonl" --kind rnn --unit word --min-count 12 --epochs 1 \
    --batch 192 --chunk 24 --embedding 160 --hidden 512 --dropout 0.1 --learning-rate 3e-3 --precision bfloat16 \
    --dev "$manifests/tune.jsonl" --out "$run/words.safetensors"
asr tune "$manifests/tune.jsonl" --model "$run/best.safetensors" --lm "$run/words.bin" --lexicon-only "${pronounced[@]}" \
    --rescorer "$run/words.safetensors" --out "$run/decoder.toml"

if [[ -z $card ]]; then
    card=$run/card.md
    printf -- '---\nlanguage: English\n---\n# %s\n\nTrained with recipes/%s; asr inspect shows the settings.\n' $name $name > "$card"
fi
asr models pack "$run/best.safetensors" --decoder "$run/decoder.toml" --card "$card" --name $name --out "$run/bundle"
# Use the files' paths: the packaged model of the same name would be found first.
bundle=$run/bundle/$name
for subset in dev-clean "${test[@]}"; do
    asr evaluate "$manifests/$subset.jsonl" --model "$bundle.safetensors" --decoder "$bundle.toml" \
        --json "$run/$subset.json" --report "$run/$subset.html"
done
echo "To package it: cp $run/bundle/$name.* asr/recognition/bundled/"
