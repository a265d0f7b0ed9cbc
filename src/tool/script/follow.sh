# Prints what a program has written and goes on to write, from these offsets, until it has ended.
# usage: RUN OUT_BYTES ERR_BYTES
# Exit codes: 0 when it ended with 0, 77 when its status is another one, 76 when it is gone and left no status.
run=$1 out=$(($2 + 1)) err=$(($3 + 1))
# What this shell and its tools print themselves is not what the program has written. By `command` a folder that is gone does
# not end the shell.
exec 3<&0 4>&2 2>/dev/null
command exec 2>"$run/follower"
if [ -s "$run/status" ]; then
  [ ! -s "$run/out" ] || tail -c "+$out" "$run/out"
  [ ! -s "$run/err" ] || tail -c "+$err" "$run/err" >&4
else
  # The system frees the lock when the supervisor ends, however it ends, and however long it stays as a zombie.
  flock -s 5 5<"$run/lock" >/dev/null 4>&- &
  supervised=$!
  # `tail` asks for the process of `--pid` when a file has changed, and ten times a second. The lock is empty and is changed
  # once that process has ended.
  tail -q -c "+$out" -s 0.1 -f --pid="$supervised" "$run/out" "$run/lock" &
  first=$!
  tail -q -c "+$err" -s 0.1 -f --pid="$supervised" "$run/err" "$run/lock" >&4 &
  second=$!
  # The server closes its side when it does not read any more.
  { cat <&3; kill "$supervised" "$first" "$second"; } >/dev/null 4>&- &
  watch=$!
  wait "$supervised"
  # `true` and not `:`, a special builtin: where the lock cannot be written, that would end the shell.
  true >"$run/lock"
  wait "$first" "$second"
  kill "$watch"
fi
read -r status <"$run/status" || exit 76
[ "$status" = 0 ] || exit 77
