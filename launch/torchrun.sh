#!/usr/bin/env bash
# Training, or any other command of tdn, on two or more hosts without a cluster's software:
#
#   launch/torchrun.sh --hosts a,b train --config my.yaml --output runs/mine
#
# starts launch/node.sh on every host by ssh, shows what each prints behind its name, and ends when all
# have. It runs on one of the hosts or elsewhere. Ctrl-C, SIGTERM or the end of this script makes all
# hosts save and stop; the same command goes on. Where a host fails or is lost, the others are asked
# to stop, too. If the machine it runs on is lost, the hosts stop when their sshd notices: after a
# quarter of an hour, or as ClientAliveInterval says.
#
# --hosts A,B,...    names or addresses by which the hosts reach each other, and this one reaches them by
#                    ssh; the first one is where they meet. They need the same checkout, the data,
#                    and a run folder on storage that they share.
# --folder DIR       where the command runs on the hosts: what relative paths begin at (as here)
# --path DIR         where the checkout is on the hosts (as here)
# --port PORT        on the first host, and the one after it for the preflight (29400)
# --grace SECONDS    from a host's failure to the end of the others (30)
#
# Without ssh:
#
# --print            what to type into bash on each host instead, in any order
# --node N --id ID   be the host at place N, from 0; the id is a word for this start, the same on all
# --attached         with --node: stop at a line on standard input, or at its end
#
# Variables that begin with TDN_, PET_, NCCL_, GLOO_ or OMP_ hold on all hosts: PET_NPROC_PER_NODE=4,
# for example, and what else node.sh takes. GLOO_SOCKET_IFNAME is otherwise set to the interface
# towards the other hosts; NCCL finds its own. TDN_SSH='ssh -p 2222' replaces the program, and gets
# the same options; keys, names and ports belong into ~/.ssh/config.
#
# Status: 0 done, 75 stopped on request, 2 a mistake; else that of the host that failed first.
set -euo pipefail

launch="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

fail() {
  echo "torchrun.sh: $1" >&2
  exit 2
}

# ---- What to do ----

hosts=() folder="$PWD" path="${launch%/launch}" port=29400 grace=30 node='' id='' attached='' print=''

read_options() {
  while (($# > 0)); do
    case "$1" in
      -h | --help)
        sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 0
        ;;
      --attached) attached=1 ;;
      --print) print=1 ;;
      --hosts | --folder | --path | --port | --grace | --node | --id)
        (($# > 1)) || fail "$1: its value is missing"
        case "$1" in
          --hosts) IFS=, read -ra hosts <<< "$2" ;;
          --folder) folder="$2" ;;
          --path) path="$2" ;;
          --port) port="$2" ;;
          --grace) grace="$2" ;;
          --node) node="$2" ;;
          --id) id="$2" ;;
        esac
        shift
        ;;
      -*) fail "$1: is no option; launch/torchrun.sh --help lists them, those of tdn follow its command" ;;
      *) break ;;
    esac
    shift
  done
  command=("$@")
}

check_options() {
  local host known=,
  ((${#hosts[@]} > 0)) || fail "--hosts: say on which, such as --hosts a,b"
  for host in "${hosts[@]}"; do
    [[ "$host" =~ ^[A-Za-z0-9._-]+$ ]] || fail "--hosts: '$host' is no name or address of a host"
    [[ "$known" != *",$host,"* ]] || fail "--hosts: $host stands there twice"
    known+="$host,"
  done
  if [[ ! "$port" =~ ^[1-9][0-9]{1,4}$ ]] || ((port > 65534)); then
    fail "--port: $port is no port, such as 29400"
  fi
  [[ "$grace" =~ ^[0-9]+$ ]] || fail "--grace: $grace is no number of seconds, such as 30"
  ((${#command[@]} > 0)) || fail "say what to run, such as: --hosts a,b train --config my.yaml"
  if [[ -n "$node" ]]; then
    if [[ ! "$node" =~ ^[0-9]{1,4}$ ]] || ((node >= ${#hosts[@]})); then
      fail "--node: $node is none of the places 0 to $((${#hosts[@]} - 1)) of --hosts"
    fi
    [[ -n "$id" ]] || fail "--id: give a word for this start, the same on all hosts; --print makes one up"
  fi
  id="${id:-$(date +%Y%m%d-%H%M%S)-$$}"
}

# ---- One of the hosts ----

# The interface towards another host: by a host's own name, which gloo goes by, Debian means the
# loopback. NCCL does not go by names, and takes all interfaces of a host that has several.
interface_between_hosts() {
  local peer="${hosts[$((node == 0 && ${#hosts[@]} > 1))]}" address
  address="$(getent ahosts "$peer" | awk '{print $1; exit}')" || true
  [[ -n "$address" ]] || fail "--hosts: $peer is not known on ${hosts[node]}; give addresses instead of names"
  if command -v ip > /dev/null; then
    ip -oneline route get "$address" 2> /dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p'
  fi
}

run_node() {
  export PET_NNODES="${#hosts[@]}" PET_RDZV_BACKEND=c10d PET_RDZV_ENDPOINT="${hosts[0]}:$port"
  export PET_RDZV_ID="$id" PET_LOCAL_ADDR="${hosts[node]}" TDN_NODE_PLACE="$node"
  TDN_NODE_NAMES="$(IFS=,; echo "${hosts[*]}")"
  export TDN_NODE_NAMES  # for messages about hosts that are missing
  # torchrun would compare names to find out who keeps the store.
  export PET_RDZV_CONF="is_host=$((node == 0))${PET_RDZV_CONF:+,$PET_RDZV_CONF}"
  if ((${#hosts[@]} > 1)) && [[ -z "${GLOO_SOCKET_IFNAME:-}" ]]; then
    local interface
    interface="$(interface_between_hosts)" || exit 2
    [[ -z "$interface" ]] || export GLOO_SOCKET_IFNAME="$interface"
  fi
  [[ -n "$attached" ]] || exec "$launch/node.sh" "${command[@]}"
  run_attached
}

run_attached() {
  local run reader status=0
  "$launch/node.sh" "${command[@]}" < /dev/null &
  run=$!
  trap 'kill -TERM "$run" 2> /dev/null || true' TERM INT HUP
  {
    trap '' INT
    while read -r _; do kill -TERM "$run"; done
    kill -TERM "$run"
  } <&0 2> /dev/null &
  reader=$!
  while kill -0 "$run" 2> /dev/null; do wait "$run" 2> /dev/null || true; done
  wait "$run" 2> /dev/null || status=$?
  kill "$reader" 2> /dev/null || true
  exit "$status"
}

# ---- All hosts, by ssh ----

words_for() {  # of the command for the host at a place
  local variable word
  for variable in $(compgen -e | grep -E '^(TDN|PET|NCCL|GLOO|OMP)_'); do
    printf '%q ' "$variable=${!variable}"
  done
  printf '%q' "$path/launch/torchrun.sh"
  for word in --hosts "$(IFS=,; echo "${hosts[*]}")" --port "$port" --id "$id" --node "$1" "${@:2}" \
    "${command[@]}"; do
    printf ' %q' "$word"
  done
}

print_all() {
  local place
  for place in "${!hosts[@]}"; do
    printf '%s:\n  cd %q && env %s\n' "${hosts[place]}" "$folder" "$(words_for "$place")"
  done
}

jobs=() leashes=() statuses=()

or_end() {  # the script for a host: a condition, and what to say where it does not hold
  printf '%s || { echo %q >&2; exit 2; }; ' "$1" "torchrun.sh: $2"
}

start_host() {
  local place="$1" host="${hosts[$1]}" pipe="$scratch/$1" leash script
  printf -v script '%s' \
    "$(or_end "cd $(printf %q "$folder") 2> /dev/null" \
      "$folder is not on $host: say by --folder where the command is to run")" \
    "$(or_end "[[ -x $(printf %q "$path/launch/torchrun.sh") ]]" \
      "$path is not on $host: say by --path where the checkout is")" \
    "exec env $(words_for "$place" --attached)"
  mkfifo "$pipe"
  {
    for leash in ${leashes[@]+"${leashes[@]}"}; do exec {leash}>&-; done
    # The user's shell there may be any; what it is given here, all of them read in the same way.
    exec "${ssh[@]}" "$host" "exec bash -c 'IFS= read -r script; eval \"\$script\"'"
  } < "$pipe" > >(trap '' INT TERM HUP; exec sed -u "s/^/[$host] /") 2>&1 &
  jobs+=($!)
  exec {leash}> "$pipe"
  leashes+=("$leash")
  { echo "$script" >&"$leash" || true; } 2> /dev/null  # an ssh that has failed says so itself
}

ask_all() {
  local leash
  for leash in "${leashes[@]}"; do echo stop >&"$leash" || true; done 2> /dev/null
}

# Note what has ended; false if all have.
look() {
  local place status news=''
  local left=1
  for place in "${!jobs[@]}"; do
    if [[ -n "${statuses[place]:-}" ]]; then
      continue
    elif kill -0 "${jobs[place]}" 2> /dev/null; then
      left=0
      continue
    fi
    status=0
    wait "${jobs[place]}" 2> /dev/null || status=$?
    statuses[place]="$status"
    if ((status == 0)) || [[ -n "$failed" ]]; then
      continue
    elif [[ -n "$asked" ]]; then
      failed=75
    else
      failed="$status"
      news="host ${hosts[place]} ended with status $status"
    fi
  done
  if [[ -n "$news" ]]; then
    ((left != 0)) || news+="; the others are asked to stop in $grace s"
    echo "torchrun.sh: $news" >&"$talk"
  fi
  return "$left"
}

run_all() {
  local place deadline='' asks=0
  read -ra ssh <<< "${TDN_SSH:-ssh}"
  command -v "${ssh[0]}" > /dev/null || fail "${ssh[0]} is not there: install it, or use --print"
  ssh+=(-T -oServerAliveInterval=15 -oServerAliveCountMax=4)  # a lost host is noticed in a minute
  scratch="$(mktemp -d)"
  trap 'rm -rf "$scratch"' EXIT
  trap '' PIPE
  failed='' asked=''
  trap 'asked=1; ask_all' INT TERM HUP USR2
  for place in "${!hosts[@]}"; do start_host "$place"; done
  exec {talk}>&2 2> /dev/null  # bash itself tells at length of a job that was killed
  while look; do
    if [[ -n "$failed" && -z "$deadline" ]]; then
      deadline=$((SECONDS + grace))
    elif [[ -n "$deadline" ]] && ((SECONDS >= deadline)); then
      # Those that do not end are out of reach, or longer at it than torchrun lets them.
      if ((asks++ == 0)); then ask_all; else kill -KILL "${jobs[@]}" 2> /dev/null || true; fi
      deadline=$((SECONDS + 180))
    fi
    sleep 0.5 &
    wait $! || true
  done
  exit "${failed:-0}"
}

read_options "$@"
check_options
if [[ -n "$print" ]]; then
  print_all
elif [[ -n "$node" ]]; then
  run_node
else
  run_all
fi
