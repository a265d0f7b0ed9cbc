# Prints what a program has written and goes on to write, until it has ended. usage: RUN OUT_BYTES ERR_BYTES
here=$1 out=$(($2 + 1)) err=$(($3 + 1))
# What this shell and its tools say themselves is not what the program has written.
exec 3<&0 4>&2 2>/dev/null
read -r pid started <"$here/process" || exit 76
if [ -e "$here/status" ] || [ "$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d ' ' -f 20)" != "$started" ]; then
  tail -c "+$out" "$here/out"
  tail -c "+$err" "$here/err" >&4
else
  tail -c "+$out" -s 0.1 -f --pid="$pid" "$here/out" &
  first=$!
  tail -c "+$err" -s 0.1 -f --pid="$pid" "$here/err" >&4 &
  second=$!
  # Our end closes its side when nobody reads any more.
  { cat <&3; kill "$first" "$second"; } >/dev/null 2>&1 &
  watch=$!
  wait "$first" "$second"
  kill "$watch" 2>/dev/null
fi
[ -e "$here/status" ] || exit 76
