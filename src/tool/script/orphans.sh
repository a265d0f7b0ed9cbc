# Prints the grace period in seconds and the name of every run in a folder that goes on, after it has waited for their ends for
# some twentieths of a second. usage: FOLDER PATTERN TICKS
ticks=$3
while :; do
  found=
  for run in "$1"/$2; do
    run_goes_on "$run" || continue
    found=yes
    [ "$ticks" -eq 0 ] || break
    name=${run##*/}
    echo "$(($(grace_ticks "$run") / 20)) ${name%.*}"
  done
  [ -n "$found" ] && [ "$ticks" -gt 0 ] || exit 0
  ticks=$((ticks - 1))
  sleep 0.05
done
