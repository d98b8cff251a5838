#!/usr/bin/env bash
# Mini LibriSpeech from the distribution to a word error rate.
# usage: recipes/librispeech-mini/run.sh ROOT [RUN] [SETTING...]
#        ROOT: the folder that holds LibriSpeech/; what is not there is downloaded to it (0.5 GB)
#        RUN: where the run is written (runs/librispeech-mini); SETTING: more words for asr train, such as --epochs 20
#        DEV=SUBSET in the environment: the subset to choose the best epoch by (dev-clean-2)
set -euo pipefail
root=$(realpath "${1:?usage: run.sh ROOT [RUN] [SETTING...]}")
run=${2:-}
[[ -z $run || $run == /* ]] || run=$PWD/$run
cd "$(dirname "$0")/../.."
PATH=$PATH:$PWD/.venv/bin
run=${run:-runs/librispeech-mini}
recipe=recipes/librispeech-mini
dev=${DEV:-dev-clean-2}
manifests=data/manifests/librispeech

asr prepare librispeech "$root" train-clean-5 "$dev" --out "$manifests" --download
asr doctor "$manifests/train-clean-5.jsonl" "$manifests/$dev.jsonl" --recipe $recipe/recipe.toml
asr train $recipe/recipe.toml --train "$manifests/train-clean-5.jsonl" --dev "$manifests/$dev.jsonl" --out "$run" "${@:3}"
asr evaluate "$manifests/$dev.jsonl" --model "$run/best.safetensors" --json "$run/$dev.json"
