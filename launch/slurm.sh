#!/usr/bin/env bash
# SLURM, one task for each GPU, from the root of the checkout:
#   sbatch --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 launch/slurm.sh --config=configs/vit_b.py ...
# Options of sbatch before the script override the ones below; what stands behind it goes to cion_jax.main.
#SBATCH --job-name=cion
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

# A SIGTERM is meant for the tasks, which save and leave; this shell waits for them.
trap : TERM
export XLA_CLIENT_MEM_FRACTION="${XLA_CLIENT_MEM_FRACTION:-${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.92}}"
unset XLA_PYTHON_CLIENT_MEM_FRACTION # the old name; JAX refuses both at once

# JAX gives task i of a node its i-th GPU, so every task must see all of them. Bad exits do not kill the other
# tasks: some may still be saving; JAX itself ends those whose peers are gone.
status=0
srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --gpu-bind=none --kill-on-bad-exit=0 \
  python -m cion_jax.main --distributed "$@" || status=$?

# 75: saved on request. Queue the job again, unless it was cancelled or SLURM has queued it already.
if ((status == 75)) && [[ "$(squeue --noheader --format=%T --jobs="$SLURM_JOB_ID")" == RUNNING ]]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
