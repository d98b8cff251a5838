#!/usr/bin/env bash
# A small English model by name: from corpora to a bundle.
# usage: recipes/english-small/run.sh ROOT TEXT [RUN] [SETTING...]
#        ROOT: the folder that holds LibriSpeech/ (train-clean-5, train-clean-100 or a part of it, dev-clean) and an4/
#        TEXT: what the language model is made of, a sentence on each line (.gz, too)
#        RUN: where the run is written (runs/english-small); SETTING: more words for asr train, such as --seed 2
#        TRAIN="SUBSET..." in the environment: the subsets to train on (train-clean-5 train-clean-100), which
#        may share no utterance: of a whole train-clean-100, train-clean-5 is a part
#        TEST="SUBSET..." in the environment: the subsets to evaluate on in the end (none)
#        CARD=FILE in the environment: the card of the bundle (a short one is written)
set -euo pipefail
root=$(realpath "${1:?usage: run.sh ROOT TEXT [RUN] [SETTING...]}")
text=$(realpath "${2:?usage: run.sh ROOT TEXT [RUN] [SETTING...]}")
run=${3:-}
[[ -z $run || $run == /* ]] || run=$PWD/$run
card=${CARD:+$(realpath "$CARD")}
cd "$(dirname "$0")/../.."
PATH=$PATH:$PWD/.venv/bin
run=${run:-runs/english-small}
name=english-small
read -ra train <<< "${TRAIN:-train-clean-5 train-clean-100}"
read -ra test <<< "${TEST:-}"
manifests=data/manifests/$name

asr prepare librispeech "$root" "${train[@]}" dev-clean "${test[@]}" --out "$manifests"
asr prepare an4 "$root/an4" --out "$manifests/an4"
joined=("$manifests/an4/train.jsonl")
for subset in "${train[@]}"; do joined+=("$manifests/$subset.jsonl"); done
asr prepare join "${joined[@]}" --out "$manifests" --name train
data=(--train "$manifests/train.jsonl" --dev "$manifests/dev-clean.jsonl")
asr train recipes/$name/recipe.toml "${data[@]}" --out "$run/first" "${@:4}"

# On from there, more of it masked and dropped: what the first run learnt by heart is unlearnt. Two batches a step, as two
# processes take them.
asr train recipes/$name/recipe.toml --from "$run/first/best.safetensors" "${data[@]}" --out "$run" \
    --epochs 7 --set training.learning_rate=1e-3 --set training.warmup_epochs=0.2 --set training.hold=0.3 \
    --set training.batch_seconds=200 --set training.accumulate=2 --set model.dropout=0.4 --set augment.speeds=[0.92,1.0,1.08] \
    --set augment.mask_start=1 --set augment.time_masks=1.5 --set augment.mel_masks=1 --set augment.mel_mask_width=16 \
    --set augment.coefficient_mask_width=8 --set augment.warp=0.12 "${@:4}"

# AN4's sentences bring the letters and the words that no book has. No n-gram is pruned: packed, a million of them take 3.5 MB.
asr lm train "$text" "$manifests/an4/train.jsonl" --out "$run/words.arpa.gz"
asr lm train "$text" --kind rnn --unit word --epochs 8 --batch 32 --out "$run/words.safetensors"
asr tune "$manifests/dev-clean.jsonl" --model "$run/best.safetensors" --lm "$run/words.arpa.gz" \
    --rescorer "$run/words.safetensors" --lexicon-only --out "$run/decoder.toml"

if [[ -z $card ]]; then
    card=$run/card.md
    printf -- '---\nlanguage: English\n---\n# %s\n\nMade by recipes/%s; asr inspect tells how.\n' $name $name > "$card"
fi
asr models pack "$run/best.safetensors" --decoder "$run/decoder.toml" --card "$card" --name $name --out "$run/bundle"
# By its files: one of the name that is in the package would go before it.
bundle=$run/bundle/$name
for subset in dev-clean "${test[@]}"; do
    asr evaluate "$manifests/$subset.jsonl" --model "$bundle.safetensors" --decoder "$bundle.toml" \
        --json "$run/$subset.json" --report "$run/$subset.html"
done
echo "To bundle it: cp $run/bundle/$name.* asr/pretrained/"
