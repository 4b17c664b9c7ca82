#!/usr/bin/env bash
# A TPU slice: the same command on every host, started from your own computer.
#   TPU_NAME=my-slice ZONE=us-east5-a launch/tpu.sh --config=configs/vit_b.py --workdir=/mnt/shared/vit_b ...
# TPU_PREPARE: what each host does first; by default it enters the checkout ~/cion_jax and its environment .venv.
set -euo pipefail

: "${TPU_NAME:?name of the TPU slice}" "${ZONE:?zone of the TPU slice, like us-east5-a}"
prepare="${TPU_PREPARE:-cd cion_jax && . .venv/bin/activate}"
arguments=""
if (($#)); then
  printf -v arguments ' %q' "$@" # quoted once more, for the shell of the hosts
fi
exec gcloud compute tpus tpu-vm ssh "$TPU_NAME" --zone="$ZONE" --worker=all \
  --command="$prepare && python -m cion_jax.main --distributed$arguments"
