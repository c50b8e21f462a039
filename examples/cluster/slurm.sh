#!/usr/bin/env bash
# Eight hosts on one study: sbatch examples/cluster/slurm.sh
#SBATCH --job-name=steadynet
#SBATCH --array=0-7
#SBATCH --cpus-per-task=4
#SBATCH --gres=gpu:1
#SBATCH --mem=16G
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
set -euo pipefail

# postgresql://user:password@host/studies: a file that only you can read, sourced here, not written into this one.
source "$HOME/.steadynet"
export STEADYNET_STORAGE

# Slurm tells the shell that time is up; the search then writes its report and leaves. A requeued task goes on.
python run_search.py --data "$HOME/images" --study images --trials 400 --timeout 7h30m --quiet \
    --out "runs/images-$SLURM_ARRAY_TASK_ID" &
search=$!
trap 'kill -TERM "$search"' TERM
wait "$search" || wait "$search"
