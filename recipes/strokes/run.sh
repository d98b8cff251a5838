#!/usr/bin/env bash
# Generate pen strokes of digits, train on them and evaluate. Arguments: options of asr train.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH=$PATH:$PWD/.venv/bin
data=data/strokes
run=runs/strokes

echo "== 1. prepare: generate arrays and manifests"
python recipes/strokes/generate.py "$data"

echo; echo "== 2. train: train a model"
asr train recipes/strokes/recipe.toml --train "$data/train.jsonl" --dev "$data/dev.jsonl" --out "$run" --overwrite "$@"

echo; echo "== 3. transcribe: digits of writers that are not in the training set"
asr transcribe "$data"/test/test-0[0-4]-0.npy --model "$run/best.safetensors"

echo; echo "== 4. evaluate: the error rate of digits on the test set"
asr evaluate "$data/test.jsonl" --model "$run/best.safetensors" --json "$run/report.json" --report "$run/report.html"

echo
echo "Training curves: $run/training.html. Report: $run/report.html."
