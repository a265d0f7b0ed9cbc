# Prints what a program has written and goes on to write, until it has ended. usage: RUN OUT_BYTES ERR_BYTES
here=$1 out=$(($2 + 1)) err=$(($3 + 1))
# What this shell and its tools say themselves is not what the program has written.
exec 3<&0 4>&2 2>/dev/null
read -r pid started <"$here/process" || exit 76
# The status comes first, then the keeper ends. How long it stays as a zombie is up to process 1: in a container it may
# look every few seconds, or never.
works() {
  [ ! -e "$here/status" ] && read -r stat <"/proc/$pid/stat" || return 1
  # proc(5): the state is the 3rd field, the start time the 22nd; the 2nd is a name in brackets.
  # shellcheck disable=SC2086 # it is split
  set -- ${stat##*) }
  [ "$1" != Z ] && [ "${20}" = "$started" ]
}
if works; then
  while works; do sleep 0.1; done >/dev/null 4>&- &
  working=$!
  tail -c "+$out" -s 0.1 -f --pid="$working" "$here/out" &
  first=$!
  tail -c "+$err" -s 0.1 -f --pid="$working" "$here/err" >&4 &
  second=$!
  # Our end closes its side when nobody reads any more.
  { cat <&3; kill "$working" "$first" "$second"; } >/dev/null 4>&- &
  watch=$!
  wait "$working" "$first" "$second"
  kill "$watch"
else
  tail -c "+$out" "$here/out"
  tail -c "+$err" "$here/err" >&4
fi
[ -e "$here/status" ] || exit 76
