# Interrupts the runs in a folder that go on, each once, and kills what has not ended when its grace period is over.
# usage: FOLDER PATTERN
# shellcheck disable=SC2154 # `run_goes_on` sets `pid`
for run in "$1"/$2; do
  run_goes_on "$run" || continue
  # A second SIGINT would make a program leave everything as it is.
  [ -e "$run/interrupted" ] || { : >"$run/interrupted" && kill -INT "-$pid"; }
done
for run in "$1"/$2; do
  ticks=$(grace_ticks "$run")
  # What is killed may take a moment to be gone.
  while run_goes_on "$run" && [ "$ticks" -gt -40 ]; do
    [ "$ticks" -gt 0 ] || kill -KILL "-$pid"
    ticks=$((ticks - 1))
    sleep 0.05
  done
done
exit 0
