#!/usr/bin/env bash
# What a pod runs: node.sh, and a status by which Kubernetes can tell why it ended.
#
#   launch/kubernetes/pod.sh train --config configs/demo.yaml --output /runs/mine
#
# Status: 0 done; 2 a mistake in what was given, which no other start mends; 75 the run was asked to
# stop (its machine is drained, or given to somebody else) and goes on with the same command;
# otherwise it failed. A pod that others leave may fail before it hears why: the marker that the run
# leaves in its folder says that it was asked to stop.
set -euo pipefail

launch="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

output=
previous=
for argument in "$@"; do
  case "$argument" in
    --output=*) output="${argument#*=}" ;;
    *) [[ "$previous" != --output ]] || output="$argument" ;;
  esac
  previous="$argument"
done
if [[ -z "$output" ]]; then
  echo "pod.sh: say where the run writes: --output=/runs/NAME, on a volume that all pods share" >&2
  exit 2
fi

# Kubeflow's word for all GPUs is torchrun's for GPUs or else cores.
[[ "${PET_NPROC_PER_NODE:-auto}" != auto ]] || export PET_NPROC_PER_NODE=gpu
export TDN_LOGS="${TDN_LOGS:-$output/logs}"  # they outlive the pod
if [[ -n "${TDN_HEARTBEAT:-}" ]]; then  # a restarted container has the numbers of its former processes
  rm -rf "$TDN_HEARTBEAT"
  mkdir -p "$TDN_HEARTBEAT"
fi

marker="$output/interrupted.json"
marker_now() {  # one of a former stop is there until the run has begun
  stat --format='%i %y' "$marker" 2> /dev/null || true
}
former="$(marker_now)"

"$launch/node.sh" "$@" &
node=$!
asked=
trap 'asked=1; kill -TERM "$node" 2> /dev/null || true' TERM INT
status=0
wait "$node" || status=$?
while kill -0 "$node" 2> /dev/null; do  # a signal ends wait, not node.sh
  status=0
  wait "$node" || status=$?
done

case "$status" in
  0 | 2 | 75) exit "$status" ;;
esac
# Another pod has written the marker, and shared storage may show it late.
for _ in 1 2 3 4 5; do
  now="$(marker_now)"
  [[ -z "$now" || "$now" == "$former" ]] || exit 75
  [[ -z "$asked" ]] || exit 75
  sleep 1
done
exit "$status"
