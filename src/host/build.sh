# Builds an image of the listed files with the Docker program. usage: CONTEXT LIST DOCKERFILE ARGUMENT...
context=$1 list=$2 dockerfile=$3
shift 3
# Since version 23 BuildKit is a plugin, which may be missing; before, it has to be asked for.
version=$(docker version --format '{{.Client.Version}}' 2>/dev/null)
if [ "${version%%.*}" -lt 23 ] 2>/dev/null || docker buildx version >/dev/null 2>&1; then
  export DOCKER_BUILDKIT=1
  set -- --progress=plain "$@"
else
  export DOCKER_BUILDKIT=0
  case " $* " in *" --secret "*)
    echo "\`build_secrets\` need BuildKit, and Docker has no plugin for it: install docker-buildx there" >&2
    exit 1 ;;
  esac
fi
export BUILDX_NO_DEFAULT_ATTESTATIONS=1
newline='
'
tree=$list.tree
trap 'rm -rf "$tree" "$list.tar"' EXIT
rm -rf "$tree" && mkdir "$tree" || exit 1
# Docker begins when the files are all there: one that vanished meanwhile would be missing in an image that has its tag.
copy() {
  tar -c -f "$list.tar" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --no-recursion -C "$context" --null -T "$list" 2>&1 &&
    tar -x -p -f "$list.tar" -C "$tree" 2>&1
}
problem=$(copy) || { echo "cannot pack the build context: ${problem%%"$newline"*}" >&2; exit 1; }
rm -f "$list.tar"
docker build "$@" -f "$dockerfile" "$tree" 1>&2
