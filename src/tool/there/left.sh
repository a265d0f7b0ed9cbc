# Names the programs that work in a folder, or interrupts them and kills what is left after a while.
# usage: FOLDER PATTERN | FOLDER PATTERN GRACE_S
running() {
  read -r pid started <"$1/process" 2>/dev/null || return 1
  now=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d ' ' -f 20)
  case $now in
    # Also what the keeper has started goes on when only the keeper is killed.
    '') kill -0 "-$pid" 2>/dev/null ;;
    "$started") [ ! -e "$1/status" ] ;;
    *) return 1 ;;
  esac
}
for here in "$1"/$2; do
  running "$here" || continue
  if [ -z "${3:-}" ]; then
    name=${here##*/}
    echo "${name%.*}"
    continue
  fi
  kill -INT "-$pid" 2>/dev/null
  tenths=$(($3 * 10))
  while running "$here" && [ "$tenths" -gt 0 ]; do
    tenths=$((tenths - 1))
    sleep 0.1
  done
  running "$here" && kill -KILL "-$pid" 2>/dev/null
done
exit 0
