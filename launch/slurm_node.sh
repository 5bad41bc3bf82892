#!/usr/bin/env bash
# What a job of slurm.sbatch starts on each node: it finds the node's place among the others, goes into
# the container, and notes a request to stop.
#
#   slurm_node.sh COMMAND...     in its environment TDN_NODE_ADDRESSES, TDN_LOGS, TDN_STOPPED
#                                and TDN_LOST, which the trainer touches
#
# The note tells requests from failures: srun makes one status of all nodes', and tells a request to
# all when one of them fails. Signals need not be passed on: Slurm sends them to all
# processes of a node.
set -euo pipefail

asked=
trap 'asked=1' TERM INT USR2

read -ra addresses <<< "$TDN_NODE_ADDRESSES"
export PET_LOCAL_ADDR="${addresses[SLURM_NODEID]}" TDN_NODE_PLACE="$SLURM_NODEID"
# torchrun would compare names to find out who keeps the store.
PET_RDZV_CONF="is_host=$((SLURM_NODEID == 0))${PET_RDZV_CONF:+,$PET_RDZV_CONF}"
export PET_RDZV_CONF TDN_LOGS="$TDN_LOGS/$SLURMD_NODENAME"

container=()
if [[ "${TDN_CONTAINER:-}" == *.sif ]]; then
  program="$(command -v apptainer || command -v singularity)" || {
    echo "slurm_node.sh: no apptainer on $SLURMD_NODENAME to run TDN_CONTAINER $TDN_CONTAINER in" >&2
    exit 2
  }
  container=("$program" exec --nv --bind "$TDN_MOUNTS" --pwd "$PWD" "$TDN_CONTAINER")
fi

[[ -z "$asked" ]] || { touch "$TDN_STOPPED"; exit 0; }
${container[@]+"${container[@]}"} "$@" &
while kill -0 $! 2> /dev/null; do wait $! || true; done
status=0
wait $! || status=$?

if [[ -n "$asked" ]] && ((status != 0)); then
  touch "$TDN_STOPPED"
  exit 0  # after any other status srun tells the nodes again, some of which may still be saving
fi
exit "$status"
