# Starts a program that outlives the connection and the server, and prints its record. usage:
#   SUPERVISE FOLDER NAME RUN GRACE_S TIMEOUT_S DIRECTORY PROGRAM [ARGUMENT...] <ENVIRONMENT
# The folder of the run, FOLDER/NAME.RUN, holds:
#   process      number and start time of the supervisor, which leads the program's group
#   out, err     what the program prints
#   status       the program's exit status, as a shell has it: the program has ended
#   grace_s      how many seconds the program may take to end after its SIGINT
#   timeout_s    how many seconds the program may take
#   interrupted  it had its SIGINT
#   lock         locked for as long as the supervisor runs
#   supervisor, follower  what these print themselves
supervise=$1 folder=$2 name=$3 run=$2/$3.$4 grace_s=$5 timeout_s=$6 directory=$7
shift 7
umask 077
environment=$(cat)
# Without its last line the connection broke in the middle of it.
case $environment in *'# end') ;; *) exit 255 ;; esac
{ [ -d "$folder" ] || mkdir -p "$folder"; } && cd "$directory" || exit 1
# Whoever makes this folder starts the program: a start that was sent twice finds it there.
record=
if mkdir "$run" 2>/dev/null; then
  for old in "$folder/$name".*; do
    [ "$old" = "$run" ] || [ ! -s "$old/status" ] || rm -rf "$old"
  done
  echo "$grace_s" >"$run/grace_s" && echo "$timeout_s" >"$run/timeout_s" || exit 1
  eval "$environment"
  # The substitution ends when the supervisor closes its output, which it does once it is on record, or when it has failed.
  # It is not started by `&`: a shell has its background jobs ignore SIGINT.
  record=$(setsid -f sh -c "$supervise" supervise "$run" "$grace_s" "$@" 2>"$run/supervisor" </dev/null)
  tries=0
else
  tries=200
fi
until [ -n "$record" ] || { [ -s "$run/process" ] && read -r record <"$run/process"; }; do
  [ "$tries" -gt 0 ] || { cat "$run/supervisor" >&2; echo "start: it was not started" >&2; exit 1; }
  tries=$((tries - 1))
  sleep 0.05
done
echo "$record"
