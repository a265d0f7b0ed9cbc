# Starts a program that outlives the connection. usage: KEEPER FOLDER NAME RUN DIRECTORY PROGRAM [ARGUMENT...] <ENVIRONMENT
keeper=$1 folder=$2 name=$3 run=$4 directory=$5
shift 5
umask 077
environment=$(cat)
# Without its last line the connection broke in the middle of it.
case $environment in *'# whole') ;; *) exit 255 ;; esac
mkdir -p "$folder" || exit 1
here=$folder/$name.$run
# Whoever makes this folder starts the program: a start that was sent twice finds it there.
if mkdir "$here" 2>/dev/null; then
  for old in "$folder/$name".*; do
    [ "$old" = "$here" ] || [ ! -e "$old/status" ] || rm -rf "$old"
  done
  eval "$environment"
  cd "$directory" || exit 1
  setsid -f sh -c "$keeper" keeper "$here" "$@" </dev/null >/dev/null 2>"$here/keeper" || exit 1
fi
[ -d "$here" ] || { mkdir "$here"; exit 1; }
tries=0
until [ -e "$here/process" ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 200 ] || { cat "$here/keeper" >&2; echo "there: it did not begin" >&2; exit 1; }
  sleep 0.05
done
