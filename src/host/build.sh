# Builds an image of the listed files with the Docker program. usage: CONTEXT LIST EXTRA-FOLDER EXTRA-FILE ARGUMENT...
context=$1 list=$2 folder=$3 file=$4
shift 4
# Since version 23 BuildKit is a plugin, which may be missing; before, it has to be asked for.
version=$(docker version --format '{{.Client.Version}}' 2>/dev/null)
if [ "${version%%.*}" -lt 23 ] 2>/dev/null || docker buildx version >/dev/null 2>&1; then
  export DOCKER_BUILDKIT=1
  set -- --progress=plain "$@"
else
  export DOCKER_BUILDKIT=0
fi
export BUILDX_NO_DEFAULT_ATTESTATIONS=1
pack() {
  tar -c -f - --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --no-recursion "$@"
}
if [ -n "$file" ]; then
  pack -C "$context" --null -T "$list" -C "$folder" "./$file"
else
  pack -C "$context" --null -T "$list"
fi | docker build "$@" - 1>&2
