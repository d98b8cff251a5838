#!/usr/bin/env bash
# Mini LibriSpeech: from the distribution to word error rates, with the language models and the dictionary of
# english-small. A clean clone has them in asr/recognition/bundled.
# usage: recipes/librispeech-mini/run.sh ROOT [RUN] [SETTING...]
#        ROOT: the folder that contains LibriSpeech/; missing subsets are downloaded to it (0.5 GB)
#        RUN: the output folder (runs/librispeech-mini); SETTING: more arguments of asr train, such as --epochs 20
#        DEV=SUBSET in the environment: the development set (dev-clean-2)
#        TEST="SUBSET..." in the environment: the subsets to evaluate on at the end (none)
#        PROCESSES=N in the environment: processes that train, each on one CPU core (1, on all cores or the GPU)
set -euo pipefail
root=$(realpath "${1:?usage: run.sh ROOT [RUN] [SETTING...]}")
run=${2:-}
[[ -z $run || $run == /* ]] || run=$PWD/$run
cd "$(dirname "$0")/../.."
PATH=$PATH:$PWD/.venv/bin
run=${run:-runs/librispeech-mini}
recipe=recipes/librispeech-mini
dev=${DEV:-dev-clean-2}
read -ra test <<< "${TEST:-}"
manifests=data/manifests/librispeech
bundled=asr/recognition/bundled/english-small

asr prepare librispeech "$root" train-clean-5 "$dev" "${test[@]}" --out "$manifests" --download
asr doctor "$manifests/train-clean-5.jsonl" "$manifests/$dev.jsonl" --recipe $recipe/recipe.toml
train=(asr train)
if [[ ${PROCESSES:-1} != 1 ]]; then
    export OMP_NUM_THREADS=1
    train=(torchrun --standalone --nproc-per-node "$PROCESSES" -m asr train)
fi
# 400 s of audio in each step, whatever the number of processes.
"${train[@]}" $recipe/recipe.toml --train "$manifests/train-clean-5.jsonl" --dev "$manifests/$dev.jsonl" \
    --pronunciations $bundled.pronunciations.gz --out "$run" --set training.batch_seconds=$((400 / ${PROCESSES:-1})) "${@:3}"
model=$run/best.safetensors
asr tune "$manifests/$dev.jsonl" --model "$model" --lm $bundled.lm.bin --lexicon-only \
    --pronunciations $bundled.pronunciations.gz --rescorer $bundled.rescorer.safetensors --out "$run/decoder.toml"
for subset in "$dev" "${test[@]}"; do
    asr evaluate "$manifests/$subset.jsonl" --model "$model" --greedy --json "$run/$subset.json"
    asr evaluate "$manifests/$subset.jsonl" --model "$model" --decoder "$run/decoder.toml" --json "$run/$subset-words.json"
done
