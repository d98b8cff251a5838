#!/usr/bin/env bash
# LibriSpeech, 960 hours, trained on the GPUs of several machines of a Slurm cluster, which share the disk.
# usage: sbatch recipes/librispeech-960/slurm.sh TRAIN DEV RUN [SETTING...]
#        from the repository's root; TRAIN, DEV: manifests, such as run.sh writes; RUN: the output folder;
#        SETTING: more arguments of asr train. Submit the same command again to resume a run.
#SBATCH --job-name=librispeech-960
#SBATCH --output=%x-%j.log
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
# Five minutes before the time is over, the processes save a checkpoint and end.
#SBATCH --signal=TERM@300
set -euo pipefail
usage="usage: sbatch slurm.sh TRAIN DEV RUN [SETTING...]"
train=${1:?$usage} dev=${2:?$usage} run=${3:?$usage}
PATH=$PATH:$PWD/.venv/bin
recipe=recipes/librispeech-960/recipe.toml
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export OMP_NUM_THREADS=1

# Once, by the cores of the first machine; all machines read the result.
srun --nodes=1 --ntasks=1 asr prepare features $recipe --train "$train" --dev "$dev"
srun torchrun --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" --max-restarts 3 \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$head:29400" \
    -m asr train $recipe --train "$train" --dev "$dev" --out "$run" "${@:4}"
