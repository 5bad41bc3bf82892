#!/usr/bin/env bash
# The pods' liveness probe. The watchdog of every training process touches a file, named by the
# process, once a second for as long as it can look: also while a list is indexed, and while all
# wait for a slow one. A process that is there, but has been silent for minutes, is stopped, out of
# memory or in the hands of a dead file system or driver: it will not end by itself.
#
# Status: 1 if there is one; where nobody trains (yet), all is well.
set -euo pipefail

limit="${TDN_SILENCE:-300}"  # seconds
now="$(date +%s)"
for beat in "${TDN_HEARTBEAT:-/nowhere}"/*; do
  process="${beat##*/}"
  [[ -d "/proc/$process" ]] || continue
  touched="$(stat --format=%Y "$beat" 2> /dev/null)" || continue
  if ((now - touched > limit)); then
    echo "training process $process has been silent for $((now - touched)) s"
    exit 1
  fi
done
