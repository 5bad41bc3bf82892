#!/usr/bin/env bash
# What every node of a run executes, whatever started it:
#
#   launch/node.sh train --config configs/demo.yaml --output runs/mine
#
# slurm.sbatch, torchrun.sh, kubernetes/ and skypilot.yaml all come to this. The arguments are those
# of `tdn`; the cluster is told by torchrun's own variables, which the Kubeflow operator sets, too:
#
#   PET_NNODES           nodes, or MIN:MAX of a run that goes on while some are missing (1)
#   PET_NPROC_PER_NODE   processes a node: a number, or gpu (all GPUs; without any: 1)
#   PET_RDZV_BACKEND=c10d, PET_RDZV_ENDPOINT=HOST:PORT, PET_RDZV_ID      where the nodes meet, or
#   PET_NODE_RANK, PET_MASTER_ADDR, PET_MASTER_PORT                      the same by fixed places
#   PET_MAX_RESTARTS     how often torchrun starts the processes again after a failure (3)
#
# Settings:
#   TDN_PREFLIGHT=off    train without examining nodes and links first
#   TDN_PREFLIGHT_WAIT=S seconds that the preflight waits for nodes to come (40)
#   TDN_NUMA=off         do not bind processes to the cores near their GPU
#   TDN_LOGS=DIR         what each process printed: DIR/<run>/attempt_<n>/<rank>/std*.log (logs)
#   TDN_PYTHON=PATH      the interpreter that has tdn (.venv of this checkout, else python3)
#
# Status: 0 done, 75 stopped on request (the same command goes on), 2 a mistake, else that of the
# process that failed first, as tdn/launcher has it. LOGLEVEL=INFO shows what torchrun does.
set -euo pipefail

launch="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

fail() {
  echo "node.sh: $1" >&2
  exit 2
}

(($# > 0)) || fail "say what to run, such as: launch/node.sh train --config configs/demo.yaml"

python="${TDN_PYTHON:-}"
if [[ -z "$python" ]]; then
  python="$launch/../.venv/bin/python"
  [[ -x "$python" ]] || python=python3
fi
command -v "$python" > /dev/null || fail "$python is not there: set TDN_PYTHON to the one with tdn"

export PET_NNODES="${PET_NNODES:-1}"
if [[ "${PET_NPROC_PER_NODE:-gpu}" == gpu ]]; then
  PET_NPROC_PER_NODE=1
  if compgen -G '/dev/nvidia[0-9]*' > /dev/null; then PET_NPROC_PER_NODE=gpu; fi
fi
export PET_NPROC_PER_NODE

# shellcheck source=launch/environment.sh
source "$launch/environment.sh"

# Where the nodes of the run meet; empty for one that has a single node.
if [[ -n "${PET_RDZV_ENDPOINT:-}" ]]; then
  [[ "$PET_RDZV_ENDPOINT" =~ :[0-9]+$ ]] || PET_RDZV_ENDPOINT+=":29400"
  meeting_point="$PET_RDZV_ENDPOINT"
elif [[ -n "${PET_MASTER_ADDR:-}" ]]; then
  export PET_MASTER_PORT="${PET_MASTER_PORT:-29500}"
  meeting_point="$PET_MASTER_ADDR:$PET_MASTER_PORT"
else
  meeting_point=
fi

run_goes_on() {  # without this node, which only comes back
  [[ -n "$meeting_point" ]] &&
    timeout 3 bash -c "exec 3<> /dev/tcp/${meeting_point%:*}/${meeting_point##*:}" 2> /dev/null
}

# The preflight has a port of its own: nodes leave it one after the other, and one that is early
# must not find the store of those that are still there.
preflight() {
  local environment=()
  if run_goes_on; then  # the others are busy: this node examines itself
    environment=(-u PET_RDZV_BACKEND -u PET_RDZV_ENDPOINT -u PET_RDZV_ID -u PET_RDZV_CONF
      -u PET_LOCAL_ADDR -u PET_NODE_RANK -u PET_MASTER_ADDR -u PET_MASTER_PORT
      PET_NNODES=1)
  elif [[ -n "${PET_RDZV_ENDPOINT:-}" ]]; then
    environment+=("PET_RDZV_ENDPOINT=${meeting_point%:*}:$((${meeting_point##*:} + 1))")
  elif [[ -n "$meeting_point" ]]; then
    environment+=("PET_MASTER_PORT=$((PET_MASTER_PORT + 1))")
  fi
  exec env "${environment[@]}" "$python" "$launch/preflight.py" "$@"
}

if [[ "${TDN_PREFLIGHT:-on}" != off ]]; then
  preflight "$@" &
  asked=
  trap 'asked=1; kill -TERM $! 2> /dev/null || true' TERM INT USR2
  status=0
  wait $! || status=$?
  trap - TERM INT USR2
  [[ -z "$asked" ]] || exit 75
  ((status == 0)) || exit "$status"
fi

# shellcheck disable=SC2054 # the commas are torchrun's
options=(
  # SIGUSR2 is Slurm's warning here: SIGUSR1 is caught by NCCL. By default torchrun dies of it.
  --signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR2
  # Longer than training.stop_timeout (120 s): by default torchrun kills after 30 s.
  --shutdown-timeout=150
  --log-dir="${TDN_LOGS:-logs}" --tee=3 --local-ranks-filter=0
)
if [[ "$PET_NPROC_PER_NODE" == gpu && "${TDN_NUMA:-on}" != off ]] && command -v numactl > /dev/null; then
  options+=(--numa-binding=node)
fi
if [[ -z "$meeting_point" ]]; then
  export PET_RDZV_BACKEND=c10d PET_RDZV_ENDPOINT=localhost:0 PET_RDZV_ID="${PET_RDZV_ID:-$$}"
fi
export PET_MAX_RESTARTS="${PET_MAX_RESTARTS:-3}"
exec "$python" -m tdn.launcher "${options[@]}" -m tdn "$@"
