# Tries what the other scripts use (util-linux, GNU coreutils, grep, /proc): prints what does not work, and fails when there is
# any.
broken=
for trial in 'setsid -f true' 'flock -s 0' 'tail -q -s 0.1 --pid=1 -c +1 /dev/null' 'timeout -k 1 1 true' \
  'sync /proc/self/exe' 'grep -Ev x' 'cat /proc/uptime'; do
  # shellcheck disable=SC2086 # a trial is a program with its arguments
  echo | timeout 10 $trial >/dev/null 2>&1 || broken="${broken:+$broken, }\`$trial\`"
done
[ -z "$broken" ] || { echo "$broken"; exit 1; }
