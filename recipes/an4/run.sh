#!/usr/bin/env bash
# CMU AN4 from the distribution to a word error rate.
# usage: recipes/an4/run.sh AN4 [RUN] [SETTING...]     AN4: the folder an4/ or the one that holds it
#        RUN: where the run is written (runs/an4); SETTING: more words for asr train, such as --seed 2
set -euo pipefail
root=$(realpath "${1:?usage: run.sh AN4 [RUN] [SETTING...]}")
run=${2:-}
[[ -z $run || $run == /* ]] || run=$PWD/$run
cd "$(dirname "$0")/../.."
PATH=$PATH:$PWD/.venv/bin
run=${run:-runs/an4}
manifests=data/manifests/an4

asr prepare an4 "$root" --out "$manifests"
asr doctor "$manifests/train.jsonl" "$manifests/dev.jsonl" --recipe recipes/an4/recipe.toml
asr train recipes/an4/recipe.toml --train "$manifests/train.jsonl" --dev "$manifests/dev.jsonl" --out "$run" "${@:3}"

# Language models of the training transcripts, and on dev how much they should count.
asr lm train "$manifests/train.jsonl" --order 3 --out "$run/words.arpa"
asr lm train "$manifests/train.jsonl" --dev "$manifests/dev.jsonl" --kind rnn --model "$run/best.safetensors" \
    --hidden 192 --layers 1 --dropout 0.4 --epochs 60 --out "$run/letters.safetensors"
asr tune "$manifests/dev.jsonl" --model "$run/best.safetensors" --lm "$run/words.arpa" \
    --rescorer "$run/letters.safetensors" --out "$run/decoder.toml"

asr evaluate "$manifests/test.jsonl" --model "$run/best.safetensors" --greedy --json "$run/test.json"
asr evaluate "$manifests/test.jsonl" --model "$run/best.safetensors" --beam-width 100 --json "$run/test-beam.json"
asr evaluate "$manifests/test.jsonl" --model "$run/best.safetensors" --decoder "$run/decoder.toml" \
    --json "$run/test-lm.json" --report "$run/test-lm.html"
