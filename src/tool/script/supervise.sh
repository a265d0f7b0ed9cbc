# Supervises a program that outlives whoever started it: puts itself on record before the program is started, and the
# program's status when it has ended. usage: RUN GRACE_S PROGRAM [ARGUMENT...]
# shellcheck disable=SC2154 # `read_stat` sets `started`, `read_now` sets `now`
run=$1 grace_s=$2
shift 2
exec 9>"$run/lock" && flock 9 || exit 1
: >"$run/out" && : >"$run/err" || exit 1
# The record is on disk, also after a power cut, before the program changes anything. There is one already when somebody who
# looked for left-over programs has found the run without a process; then nothing may be started any more.
read_stat $$ && put_on_record "$run" $$ "$started" && sync "$run/process" || exit 1
echo "$$ $started"
exec >/dev/null
# An interrupt is meant for the program: the supervisor has to see how it ends.
trap : INT TERM HUP
# One that came before there was a program is known by its file, which is there before the signal is sent. What comes after the
# look at it ends the subshell.
(trap - INT TERM HUP; [ ! -e "$run/interrupted" ] || exit 130; exec "$@") >"$run/out" 2>"$run/err" </dev/null 9>&-
status=$?
# A program that was killed alone has left what it started at work; that is part of the run until it ends, for as long as
# the grace period. A program that was interrupted had its time.
leftover=
if [ "$status" -gt 128 ] || [ -e "$run/interrupted" ]; then
  read_now
  deadline=$((now + grace_s * 100)) leftover=yes
  while group_runs $$ $$ || leftover=; [ -n "$leftover" ] && [ "$now" -lt "$deadline" ] && [ ! -e "$run/interrupted" ]; do
    sleep 0.05
    read_now
  done
fi
echo "$status" >"$run/status"
# This ends the supervisor too.
[ -z "$leftover" ] || kill -KILL "-$$"
