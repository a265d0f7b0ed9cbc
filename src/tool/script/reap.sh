# Interrupts the runs in a folder that go on, each once, and kills what has not ended when its grace period is over.
# usage: FOLDER PATTERN [RECORD GRACE_S]
# shellcheck disable=SC2154 # `run_goes_on` sets `pid`, `read_now` sets `now`, `read_grace` sets `grace_s`
umask 077
# A run whose record somebody has removed is found all the same by whoever has read it before.
if [ -n "${3-}" ] && [ ! -e "$1/$2/process" ]; then
  mkdir -p "$1/$2" && echo "$4" >"$1/$2/grace_s" && echo "$3" >"$1/$2/process"
fi
for run in "$1"/$2; do
  run_goes_on "$run" || continue
  # A second SIGINT would make a program leave everything as it is. `true` and not `:`, a special builtin: where the file
  # cannot be made, that would end the shell.
  [ -e "$run/interrupted" ] || { true >"$run/interrupted"; kill -INT "-$pid"; }
done
read_now
start=$now left=yes
while [ -n "$left" ]; do
  read_now
  left=
  for run in "$1"/$2; do
    run_goes_on "$run" || continue
    read_grace "$run"
    over=$((now - start - grace_s * 100))
    [ "$over" -lt 0 ] || kill -KILL "-$pid"
    # What is killed may take a moment to be gone.
    [ "$over" -gt 200 ] || left=yes
  done
  [ -z "$left" ] || sleep 0.05
done
exit 0
