#!/usr/bin/env bash
# Mini LibriSpeech: from the distribution to word error rates.
# usage: recipes/librispeech-mini/run.sh ROOT [RUN] [SETTING...]
#        ROOT: the folder that contains LibriSpeech/; missing subsets are downloaded to it (0.5 GB)
#        RUN: the output folder (runs/librispeech-mini); SETTING: more arguments of asr train, such as --epochs 20
#        DEV=SUBSET in the environment: the development set (dev-clean-2)
#        TEST="SUBSET..." in the environment: the subsets to evaluate on at the end (none)
#        TEXT=FILE in the environment: training text of a language model, which is tuned on DEV and evaluated too (.gz or not)
set -euo pipefail
root=$(realpath "${1:?usage: run.sh ROOT [RUN] [SETTING...]}")
run=${2:-}
[[ -z $run || $run == /* ]] || run=$PWD/$run
text=${TEXT:+$(realpath "$TEXT")}
cd "$(dirname "$0")/../.."
PATH=$PATH:$PWD/.venv/bin
run=${run:-runs/librispeech-mini}
recipe=recipes/librispeech-mini
dev=${DEV:-dev-clean-2}
read -ra test <<< "${TEST:-}"
manifests=data/manifests/librispeech

asr prepare librispeech "$root" train-clean-5 "$dev" "${test[@]}" --out "$manifests" --download
asr doctor "$manifests/train-clean-5.jsonl" "$manifests/$dev.jsonl" --recipe $recipe/recipe.toml
asr train $recipe/recipe.toml --train "$manifests/train-clean-5.jsonl" --dev "$manifests/$dev.jsonl" --out "$run" "${@:3}"
model=$run/best.safetensors
for subset in "$dev" "${test[@]}"; do
    asr evaluate "$manifests/$subset.jsonl" --model "$model" --greedy --json "$run/$subset.json"
done
[[ -n $text ]] || exit 0
asr lm train "$text" --out "$run/words.arpa.gz"
asr tune "$manifests/$dev.jsonl" --model "$model" --lm "$run/words.arpa.gz" --out "$run/decoder.toml"
for subset in "$dev" "${test[@]}"; do
    asr evaluate "$manifests/$subset.jsonl" --model "$model" --decoder "$run/decoder.toml" --json "$run/$subset-words.json"
done
