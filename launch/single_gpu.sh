#!/usr/bin/env bash
# One GPU: launch/single_gpu.sh --config=configs/vit_b.py [--workdir=DIR] [--config.key=value ...]
# The first of CUDA_VISIBLE_DEVICES is taken, GPU 0 without it.
set -euo pipefail

visible="${CUDA_VISIBLE_DEVICES:-0}"
export CUDA_VISIBLE_DEVICES="${visible%%,*}"
# JAX takes three quarters of the memory by default; nothing else needs the rest here.
export XLA_CLIENT_MEM_FRACTION="${XLA_CLIENT_MEM_FRACTION:-${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.92}}"
unset XLA_PYTHON_CLIENT_MEM_FRACTION # the old name; JAX refuses both at once
exec python -m cion_jax.main "$@"
