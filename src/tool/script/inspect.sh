# Runs a program that only looks. usage: DIRECTORY LIMIT_S PROGRAM [ARGUMENT...] <ENVIRONMENT
directory=$1 limit_s=$2
shift 2
environment=$(cat)
# Without its last line the connection broke in the middle of it.
case $environment in *'# end') ;; *) exit 255 ;; esac
eval "$environment"
cd "$directory" || exit 1
command -v "$1" >/dev/null || { echo "inspect: $1: not found" >&2; exit 127; }
exec timeout -k 5 "$limit_s" "$@" </dev/null
