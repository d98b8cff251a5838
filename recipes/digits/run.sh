#!/usr/bin/env bash
# The whole pipeline on the bundled digits: prepare, train, transcribe, evaluate. It takes no arguments.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH=$PATH:$PWD/.venv/bin
manifests=data/manifests/digits
run=runs/digits

echo "== 1. prepare: write manifests of the corpus"
asr prepare librispeech data/digits train dev test --out "$manifests"

echo; echo "== 2. train: train a model (about a minute and a half on two cores)"
asr train recipes/digits/recipe.toml --train "$manifests/train.jsonl" --dev "$manifests/dev.jsonl" --out "$run" --overwrite

echo; echo "== 3. transcribe: recordings of voices that are not in the training set"
files=(data/digits/test/30[1-5]/1/*-000[13].opus)
asr transcribe "${files[@]}" --model "$run/best.safetensors" > "$run/transcripts.txt"
printf '%-16s %-50s %s\n' recording reference transcript
for file in "${files[@]}"; do
    id=$(basename "$file" .opus)
    reference=$(sed -n "s/^$id //p" "$(dirname "$file")"/*.trans.txt)
    read -r transcript <&3 || transcript=
    printf '%-16s %-50s %s\n' "$id" "$reference" "$transcript"
done 3< "$run/transcripts.txt"

echo; echo "== 4. evaluate: the word error rate on the test set"
asr evaluate "$manifests/test.jsonl" --model "$run/best.safetensors" --json "$run/report.json"

echo
echo "Model: $run/best.safetensors. Report: $run/report.json."
echo "Next: asr transcribe FILE... --model $run/best.safetensors"
