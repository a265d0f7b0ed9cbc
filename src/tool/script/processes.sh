# What /proc tells of the processes of a run. The scripts that ask begin with this one.

# Reads a process's state and start time. proc(5): they are the 3rd and the 22nd field; the 2nd is a name in
# brackets that may hold anything.
read_stat() {
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  # shellcheck disable=SC2086 # the fields are split
  set -- ${stat##*) }
  state=$1 started=${20}
}

# Whether a process of group $1 runs, other than process $2 and its children. A zombie does not run, and stays until its parent
# waits for it, which process 1 of a container may never do.
group_runs() {
  cat /proc/[0-9]*/stat 2>/dev/null | grep -E "^[0-9]+ \\(.*\\) [^Z] [0-9]+ $1 " |
    grep -Evq "^(${2:-0}|[0-9]+ \\(.*\\) . ${2:-0}) "
}

# Whether the run in folder $1 goes on: it has no status yet, and its supervisor runs, or what that has started; its group is
# then $pid. A run that has no supervisor yet will have none: it cannot put itself on record any more.
run_goes_on() {
  [ -d "$1" ] && [ ! -s "$1/status" ] || return 1
  [ -e "$1/process" ] || (set -C && echo 0 0 >"$1/process") 2>/dev/null
  # Without a line it is just being written.
  [ -s "$1/process" ] || sleep 0.05
  read -r pid recorded <"$1/process" && [ "$pid" != 0 ] || return 1
  if read_stat "$pid"; then
    # The number may be another process's by now. It is not given away while a process of the group is left.
    [ "$started" = "$recorded" ] || return 1
    [ "$state" = Z ] || return 0
  fi
  group_runs "$pid"
}

# How many twentieths of a second the program of the run in folder $1 may take to end after its SIGINT.
grace_ticks() {
  grace_s=10
  { read -r grace_s <"$1/grace_s"; } 2>/dev/null
  echo $((grace_s * 20))
}
