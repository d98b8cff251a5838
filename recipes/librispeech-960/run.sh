#!/usr/bin/env bash
# LibriSpeech, 960 hours: from the distribution to word error rates.
# usage: recipes/librispeech-960/run.sh ROOT [RUN] [SETTING...]
#        ROOT: the folder that contains LibriSpeech/; missing subsets are downloaded to it (61 GB)
#        RUN: the output folder (runs/librispeech-960); SETTING: more arguments of asr train, such as --device cuda
set -euo pipefail
root=$(realpath "${1:?usage: run.sh ROOT [RUN] [SETTING...]}")
run=${2:-}
[[ -z $run || $run == /* ]] || run=$PWD/$run
cd "$(dirname "$0")/../.."
PATH=$PATH:$PWD/.venv/bin
run=${run:-runs/librispeech-960}
recipe=recipes/librispeech-960
manifests=data/manifests/librispeech
training=(train-clean-100 train-clean-360 train-other-500)
testing=(dev-clean dev-other test-clean test-other)

asr prepare librispeech "$root" "${training[@]}" "${testing[@]}" --out "$manifests" --download
train=$manifests/train-960.jsonl
paths=("${training[@]/#/$manifests/}")
paths=("${paths[@]/%/.jsonl}")
asr prepare join "${paths[@]}" --out "$manifests" --name train-960
asr doctor "$train" "$manifests/dev-clean.jsonl" --recipe $recipe/recipe.toml
asr train $recipe/recipe.toml --train "$train" --dev "$manifests/dev-clean.jsonl" --out "$run" "${@:3}"
for subset in "${testing[@]}"; do
    asr evaluate "$manifests/$subset.jsonl" --model "$run/best.safetensors" --json "$run/$subset.json"
done
