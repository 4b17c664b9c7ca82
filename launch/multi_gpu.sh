#!/usr/bin/env bash
# All GPUs of one machine, by one process: launch/multi_gpu.sh --config=configs/vit_b.py [--config.key=value ...]
# CUDA_VISIBLE_DEVICES=0,1,2,3 takes some of them.
set -euo pipefail

# JAX takes three quarters of the memory by default; nothing else needs the rest here.
export XLA_CLIENT_MEM_FRACTION="${XLA_CLIENT_MEM_FRACTION:-${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.92}}"
unset XLA_PYTHON_CLIENT_MEM_FRACTION # the old name; JAX refuses both at once
exec python -m cion_jax.main "$@"
