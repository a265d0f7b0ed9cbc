# Prints the grace period in seconds, the rest of its time in seconds (`-` when no time-out was kept) and the name of every run
# in a folder that goes on, after it has waited for their ends for some hundredths of a second. usage: FOLDER PATTERN HUNDREDTHS
# shellcheck disable=SC2154 # `read_now` sets `now`, `read_grace` sets `grace_s`, `read_rest` sets `rest_s`
read_now
deadline=$((now + $3))
while :; do
  read_now
  found=
  for run in "$1"/$2; do
    run_goes_on "$run" || continue
    found=yes
    [ "$now" -ge "$deadline" ] || break
    read_grace "$run"
    read_rest "$run"
    name=${run##*/}
    echo "$grace_s $rest_s ${name%.*}"
  done
  [ -n "$found" ] && [ "$now" -lt "$deadline" ] || exit 0
  sleep 0.05
done
