#!/usr/bin/env bash
# What every node of a run executes, whatever started it:
#
#   launch/node.sh train --config my.yaml --output runs/mine
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
#   TDN_PYTHON=PATH      the interpreter that has torch and tdn (.venv of this checkout, else python3)
#
# Status: 0 done, 75 stopped on request (the same command goes on), 2 a mistake, else that of the
# process that failed first, as tdn/launcher has it. LOGLEVEL=INFO shows what torchrun does.
set -euo pipefail

launch="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

fail() {
  echo "node.sh: $1" >&2
  exit 2
}

case "${1:-}" in
  '') fail "say what to run, such as: launch/node.sh train --config my.yaml --output runs/mine" ;;
  -h | --help)
    sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
esac

# A request to stop, until there is a training that hears it.
asked='' child=''
trap 'asked=1; [[ -z "$child" ]] || kill -TERM "$child" 2> /dev/null || true' TERM INT HUP USR2

python="${TDN_PYTHON:-}"
if [[ -z "$python" ]]; then
  python="$launch/../.venv/bin/python"
  [[ -x "$python" ]] || python=python3
fi
has_all='import sys; from importlib.util import find_spec; sys.exit(not (find_spec("torch") and find_spec("tdn")))'
command -v "$python" > /dev/null || fail "$python is not there: set TDN_PYTHON to the one with tdn"
[[ -n "$asked" ]] || "$python" -c "$has_all" 2> /dev/null || [[ -n "$asked" ]] ||
  fail "$python on $HOSTNAME has no torch or no tdn: run 'make .venv/installed' in $(dirname "$launch"), or set TDN_PYTHON"

export TDN_LOGS="${TDN_LOGS:-logs}"
if ! mkdir -p "$TDN_LOGS" 2> /dev/null || [[ ! -w "$TDN_LOGS" ]]; then
  fail "TDN_LOGS: $TDN_LOGS cannot be written from $PWD on $HOSTNAME: give another folder"
fi

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
  [[ "$PET_NNODES" == 1 || "$PET_NNODES" == 1:1 ]] ||
    fail "PET_NNODES=$PET_NNODES: say where they meet by PET_RDZV_ENDPOINT=HOST:PORT, the same on all, or start them by torchrun.sh"
fi

run_goes_on() {  # without this node, which only comes back
  [[ -n "$meeting_point" ]] &&
    timeout 3 bash -c "exec 3<> /dev/tcp/${meeting_point%:*}/${meeting_point##*:}" 2> /dev/null
}

# The node that keeps the meeting point opens it only when it trains. Whoever has the port before that
# is a former start of the same run, which ends in a moment, or something else.
port_is_free() {
  "$python" -c 'import socket, sys; socket.create_server(("", int(sys.argv[1])))' \
    "${meeting_point##*:}" 2> /dev/null
}

if [[ "${PET_RDZV_CONF:-}" =~ is_host=(1|[Tt]rue) ]] ||
  [[ -n "$meeting_point" && -z "${PET_RDZV_ENDPOINT:-}" && "${PET_NODE_RANK:-}" == 0 ]]; then
  seconds=0
  until port_is_free || [[ -n "$asked" ]]; do
    ((seconds++ < 10)) ||
      fail "port ${meeting_point##*:} of $HOSTNAME is in use by another run or program: end it, or take another port (--port of torchrun.sh, PET_RDZV_ENDPOINT, PET_MASTER_PORT)"
    sleep 1
  done
fi

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

status=0
if [[ "${TDN_PREFLIGHT:-on}" != off && -z "$asked" ]]; then
  preflight "$@" &
  child=$!
  while kill -0 "$child" 2> /dev/null; do wait "$child" || true; done  # a signal ends wait, too
  wait "$child" || status=$?
fi
[[ -z "$asked" ]] || exit 75
((status == 0)) || exit "$status"

# shellcheck disable=SC2054 # the commas are torchrun's
options=(
  # SIGUSR2 is Slurm's warning here: SIGUSR1 is caught by NCCL. By default torchrun dies of it.
  --signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR2
  # Longer than training.stop_timeout (120 s): torchrun's own are 30 s.
  --shutdown-timeout=150
  --log-dir="$TDN_LOGS" --tee=3 --local-ranks-filter=0
)
if [[ "$PET_NPROC_PER_NODE" == gpu && "${TDN_NUMA:-on}" != off ]] && command -v numactl > /dev/null; then
  options+=(--numa-binding=node)
fi
if [[ -z "$meeting_point" ]]; then
  export PET_RDZV_BACKEND=c10d PET_RDZV_ENDPOINT=localhost:0 PET_RDZV_ID="${PET_RDZV_ID:-$$}"
fi
export PET_MAX_RESTARTS="${PET_MAX_RESTARTS:-3}"
exec "$python" -m tdn.launcher "${options[@]}" -m tdn "$@"
