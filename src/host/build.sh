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
newline='
'
pack() {
  tar -c -f - --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --no-recursion "$@"
}
# Docker begins when the archive is whole: a file that vanished meanwhile would be missing in an image that has its tag.
problem=$(
  if [ -n "$file" ]; then
    pack -C "$context" --null -T "$list" -C "$folder" "./$file"
  else
    pack -C "$context" --null -T "$list"
  fi 2>&1 >"$list.tar"
) || { echo "cannot pack the build context: ${problem%%"$newline"*}" >&2; rm -f "$list.tar"; exit 1; }
exec 3<"$list.tar" && rm "$list.tar" || exit 1
docker build "$@" - <&3 1>&2
