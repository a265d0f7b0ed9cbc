# What /proc tells of the processes of a run, and the run's folder of itself. The scripts that ask begin with this one.

# Whether $1 is a number as these scripts write it. A shell ends when it calculates with something else.
is_number() {
  case $1 in '' | *[!0-9]* | 0?*) return 1 ;; esac
}

# Sets $now to the time since the machine was started, in hundredths of a second. Nobody sets this clock.
read_now() {
  read -r now _ </proc/uptime
  # The 1 keeps `08` from being an octal number.
  now=$((${now%.*} * 100 + 1${now#*.} - 100))
}

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

# Puts process $2, started at $3, on record for the run in folder $1. Whoever is first wins, and a record appears as a whole.
put_on_record() {
  echo "$2 $3" >"$1/process.$$" && ln -T "$1/process.$$" "$1/process" && rm "$1/process.$$"
}

# Whether the run in folder $1 goes on: it has no status yet, and its supervisor runs, or what that has started; its group is
# then $pid. A run that has no supervisor yet will have none: it cannot put itself on record any more. A record that is
# something else than two numbers is none of a supervisor.
run_goes_on() {
  [ -d "$1" ] && [ ! -s "$1/status" ] || return 1
  [ -e "$1/process" ] || put_on_record "$1" 0 0 2>/dev/null
  { [ -f "$1/process" ] && read -r pid recorded <"$1/process"; } 2>/dev/null || return 1
  # `kill -- -1` means every process.
  is_number "$pid" && is_number "$recorded" && [ "$pid" -gt 1 ] || return 1
  if read_stat "$pid"; then
    # The number may be another process's by now. It is not given away while a process of the group is left.
    [ "$started" = "$recorded" ] || return 1
    [ "$state" = Z ] || return 0
  fi
  group_runs "$pid"
}

# Sets $grace_s to how many seconds the program of the run in folder $1 may take to end after its SIGINT.
read_grace() {
  grace_s=
  { [ -f "$1/grace_s" ] && read -r grace_s <"$1/grace_s"; } 2>/dev/null
  is_number "$grace_s" && [ "${#grace_s}" -lt 7 ] || grace_s=10
}

# Sets $rest_s to how many seconds the run in folder $1, which goes on, has left of its time; to `-` when none was kept. proc(5): a
# start time is in hundredths of a second, too.
read_rest() {
  rest_s=- timeout_s=
  { [ -f "$1/timeout_s" ] && read -r timeout_s <"$1/timeout_s"; } 2>/dev/null
  is_number "$timeout_s" && [ "${#timeout_s}" -lt 7 ] || return 0
  rest_s=$((timeout_s - (now - recorded) / 100))
  [ "$rest_s" -gt 0 ] || rest_s=0
}
