#!/bin/sh
# Makes the example files of two groups, north and south, from three runs of two minutes in all on two CPU cores.
# From the root of the repository: sh experiments/leaderboard/make.sh [FOLDER OF RESULTS]
set -e
results=${1:-results/leaderboard}
bench() { # COMMAND STRATEGIES SEEDS EPOCHS RATE, then options of the command
  command=$1; strategies=$2; seeds=$3; epochs=$4; rate=$5; shift 5
  tl-robust "$command" embedded name=small results="$results" "axes.strategy=[$strategies]" "axes.seed=[$seeds]" \
    "axes.target_images=[1]" "axes.attack=[fgsm]" "axes.view=[black]" "eps=[0,8/255,32/255]" "recipes={}" \
    data.train_limit=800 data.test_limit=300 "recipe.epochs=$epochs" "recipe.lr=$rate" "$@"
}
here=experiments/leaderboard
bench run scratch,finetune 0,1,2 2 0.01
bench export scratch,finetune 0,1,2 2 0.01 --samples --out $here/north --submitter "Group North" --contact north@example.org
bench run finetune 0,1,2 4 0.01
bench export finetune 0,1,2 4 0.01 --out $here/south --submitter "Group South" --paper https://example.org/south.pdf
bench run scratch 0 2 0.0001
bench export scratch 0 2 0.0001 --out $here/south --submitter "Group South" --paper https://example.org/south.pdf
