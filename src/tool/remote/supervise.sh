# Keeps a program that outlives the connection: its process on record before it works, its status when it has ended.
here=$1
shift
: >"$here/out" && : >"$here/err" || exit 1
# proc(5): the start time is the 22nd field; the 2nd is a name in brackets that may hold anything.
started=$(sed 's/.*) //' "/proc/$$/stat" | cut -d ' ' -f 20)
echo "$$ $started" >"$here/draft" && mv "$here/draft" "$here/process" || exit 1
# An interrupt is meant for the program: whoever keeps it has to see how it ends.
trap : INT TERM HUP
"$@" >"$here/out" 2>"$here/err" </dev/null
echo "$?" >"$here/draft" && mv "$here/draft" "$here/status"
