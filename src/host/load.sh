# Brings an image of this machine's Docker into a node of a cluster. usage: IMAGE NODE
docker save "$1" | docker exec -i "$2" ctr -n k8s.io images import - 1>&2
