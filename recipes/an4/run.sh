#!/usr/bin/env bash
# CMU AN4: from the distribution to word error rates.
# usage: recipes/an4/run.sh AN4 [RUN] [SETTING...]     AN4: the folder an4/ or the one that holds it
#        RUN: the output folder (runs/an4); SETTING: more arguments of asr train, such as --seed 2
# Two models are trained. The first is trained without the eight dev speakers; the decoder is tuned on those. The second is
# trained on the whole training list for the same number of epochs; test is scored with its last epoch.
set -euo pipefail
root=$(realpath "${1:?usage: run.sh AN4 [RUN] [SETTING...]}")
run=${2:-}
[[ -z $run || $run == /* ]] || run=$PWD/$run
cd "$(dirname "$0")/../.."
PATH=$PATH:$PWD/.venv/bin
run=${run:-runs/an4}
recipe=recipes/an4/recipe.toml
manifests=data/manifests/an4

asr prepare an4 "$root" --out "$manifests"
asr prepare join "$manifests/train.jsonl" "$manifests/dev.jsonl" --out "$manifests" --name train-dev
asr doctor "$manifests/train.jsonl" "$manifests/dev.jsonl" --recipe $recipe

# The decoder is tuned on dev, with language models of the transcripts that this model was trained on.
asr train $recipe --train "$manifests/train.jsonl" --dev "$manifests/dev.jsonl" --out "$run/dev" "${@:3}"
asr lm train "$manifests/train.jsonl" --order 3 --out "$run/dev/words.arpa"
asr lm train "$manifests/train.jsonl" --dev "$manifests/dev.jsonl" --kind rnn --model "$run/dev/best.safetensors" \
    --hidden 192 --layers 1 --dropout 0.4 --epochs 150 --out "$run/dev/letters.safetensors"
asr tune "$manifests/dev.jsonl" --model "$run/dev/best.safetensors" --lm "$run/dev/words.arpa" \
    --rescorer "$run/dev/letters.safetensors" --out "$run/dev/decoder.toml"

asr train $recipe --train "$manifests/train-dev.jsonl" --dev "$manifests/dev.jsonl" --out "$run/all" "${@:3}"
asr lm train "$manifests/train-dev.jsonl" --order 3 --out "$run/all/words.arpa"

model=$run/all/last.safetensors
asr evaluate "$manifests/test.jsonl" --model "$model" --greedy --json "$run/test.json"
asr evaluate "$manifests/test.jsonl" --model "$model" --beam-width 100 --json "$run/test-beam.json"
asr evaluate "$manifests/test.jsonl" --model "$model" --decoder "$run/dev/decoder.toml" --lm "$run/all/words.arpa" \
    --json "$run/test-lm.json" --report "$run/test-lm.html"
