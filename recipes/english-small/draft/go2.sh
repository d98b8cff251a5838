#!/bin/bash
export PYTHONPATH=/work/train/code OMP_NUM_THREADS=1
cd /work/train
exec nice -n 5 /work/envs/py311/bin/torchrun --standalone --nproc-per-node 2 -m asr train decay.toml --from runs/stage1/best.safetensors --train manifests/decay.jsonl --dev manifests/dev-clean.jsonl --out runs/decay "$@"
