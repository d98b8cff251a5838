#!/usr/bin/env bash
# LibriSpeech, 100 hours: from the distribution to word error rates.
# usage: recipes/librispeech-100/run.sh ROOT [RUN] [SETTING...]
#        ROOT: the folder that contains LibriSpeech/; missing subsets are downloaded to it (8 GB)
#        RUN: the output folder (runs/librispeech-100); SETTING: more arguments of asr train, such as --device cuda
set -euo pipefail
root=$(realpath "${1:?usage: run.sh ROOT [RUN] [SETTING...]}")
run=${2:-}
[[ -z $run || $run == /* ]] || run=$PWD/$run
cd "$(dirname "$0")/../.."
PATH=$PATH:$PWD/.venv/bin
run=${run:-runs/librispeech-100}
recipe=recipes/librispeech-100
manifests=data/manifests/librispeech
training=(train-clean-100)
testing=(dev-clean dev-other test-clean test-other)

asr prepare librispeech "$root" "${training[@]}" "${testing[@]}" --out "$manifests" --download
asr doctor "$manifests/train-clean-100.jsonl" "$manifests/dev-clean.jsonl" --recipe $recipe/recipe.toml
asr train $recipe/recipe.toml --train "$manifests/train-clean-100.jsonl" --dev "$manifests/dev-clean.jsonl" --out "$run" "${@:3}"
for subset in "${testing[@]}"; do
    asr evaluate "$manifests/$subset.jsonl" --model "$run/best.safetensors" --json "$run/$subset.json"
done
