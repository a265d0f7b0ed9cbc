# Brings an image of this machine's Docker into a node of a cluster. usage: IMAGE NODE
# A pipe has the status of its right side. What went wrong on the left one comes by descriptor 3, unless it is that nobody reads
# any more.
save() {
  { problem=$(docker save "$1" 2>&1 >&4); } 4>&1
  case "$? $problem" in '0 '* | '141 '* | *'broken pipe'*) ;; *) echo "\`docker save\` failed: $problem" >&3 ;; esac
}
problem=$({ save "$1" | docker exec -i "$2" ctr -n k8s.io images import - 1>&2; } 3>&1)
status=$?
[ -z "$problem" ] || { echo "$problem" >&2; exit 1; }
exit $status
