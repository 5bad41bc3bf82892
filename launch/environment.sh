# shellcheck shell=bash
# What every process of a run finds in its environment, and why. Sourced by node.sh on each node;
# whatever is set beforehand, by you or by the cluster, stays as it is.

# What goes wrong says so.
export NCCL_DEBUG="${NCCL_DEBUG:-WARN}"                # INFO tells which links and protocols NCCL takes
export PYTHONFAULTHANDLER="${PYTHONFAULTHANDLER:-1}"   # stacks of a process that crashes in native code
export PYTHONUNBUFFERED="${PYTHONUNBUFFERED:-1}"       # lines reach the log as they are printed

# A collective that cannot end: the run's own watchdog (training.stall_timeout, training.host_timeout)
# speaks first and names who is missing; NCCL's ends the process where that fails.
export TORCH_NCCL_ASYNC_ERROR_HANDLING="${TORCH_NCCL_ASYNC_ERROR_HANDLING:-1}"
export TORCH_FR_BUFFER_SIZE="${TORCH_FR_BUFFER_SIZE:-2000}"  # the last collectives, for its dump
export TORCH_NCCL_DUMP_ON_TIMEOUT="${TORCH_NCCL_DUMP_ON_TIMEOUT:-1}"

# torchrun of torch 2.13 fails when a lost node comes back, if its processes share its own store.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE="${TORCH_DISABLE_SHARE_RDZV_TCP_STORE:-1}"

# Videos of many sizes fragment torch's memory: segments that grow do not.
export PYTORCH_ALLOC_CONF="${PYTORCH_ALLOC_CONF:-expandable_segments:True}"

# Threads of one process's CPU operations. With a GPU these are few, and DALI's threads
# (data.num_threads) need the cores; without one the processes of a node share them evenly.
# torchrun would otherwise say 1, everywhere.
if [[ -z "${OMP_NUM_THREADS:-}" ]]; then
  if compgen -G '/dev/nvidia[0-9]*' > /dev/null; then
    OMP_NUM_THREADS=1
  else
    processes="${PET_NPROC_PER_NODE:-1}"
    [[ "$processes" =~ ^[1-9][0-9]*$ ]] || processes="$(nproc)"
    OMP_NUM_THREADS=$(($(nproc) / processes))
    ((OMP_NUM_THREADS >= 1)) || OMP_NUM_THREADS=1
  fi
  export OMP_NUM_THREADS
fi

# The network between nodes. NCCL and gloo choose by themselves, and sometimes take the wrong one:
# a management network, docker0, one port of four. `ip -br address` and `ibstat` tell the names.
# export NCCL_SOCKET_IFNAME=eth0    # Ethernet, and what sets up InfiniBand connections; ^docker0,lo excludes
# export GLOO_SOCKET_IFNAME=eth0    # what the processes tell each other on the CPU
# export NCCL_IB_HCA=mlx5_0,mlx5_1  # InfiniBand or RoCE adapters that may be used
# export NCCL_IB_GID_INDEX=3        # RoCE v2: as `show_gids` says
# export NCCL_IB_DISABLE=1          # Ethernet although InfiniBand is there: to find out who is to blame
# export NCCL_CROSS_NIC=1           # several networks that are connected with each other
