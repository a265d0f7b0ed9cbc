# Names the programs that work in a folder, or interrupts them and kills what is left after a while.
# usage: FOLDER PATTERN | FOLDER PATTERN GRACE_S
exec 2>/dev/null
# Whether a process of its group works: what the keeper has started goes on when only the keeper is killed. A zombie does
# not work, and may stay for as long as process 1 does not look for it.
running() {
  read -r pid started <"$1/process" || return 1
  for file in "/proc/$pid/stat" /proc/[0-9]*/stat; do
    read -r stat <"$file" || continue
    # proc(5): the state is the 3rd field, the group the 5th, the start time the 22nd; the 2nd is a name in brackets.
    # shellcheck disable=SC2086 # it is split
    set -- ${stat##*) }
    # The number may be somebody else's by now.
    [ "$file" != "/proc/$pid/stat" ] || [ "${20}" = "$started" ] || return 1
    [ "$3" != "$pid" ] || [ "$1" = Z ] || return 0
  done
  return 1
}
for here in "$1"/$2; do
  running "$here" || continue
  if [ -z "${3:-}" ]; then
    name=${here##*/}
    echo "${name%.*}"
    continue
  fi
  kill -INT "-$pid"
  tenths=$(($3 * 10))
  while running "$here" && [ "$tenths" -gt 0 ]; do
    tenths=$((tenths - 1))
    sleep 0.1
  done
  running "$here" && kill -KILL "-$pid"
done
exit 0
