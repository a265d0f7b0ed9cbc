# Prints a compressed archive of a clone's tree manifest in base64. usage: CLONE [FILE]
cd "$1" || exit 1
also=$2
manifest=$(mktemp -d) || exit 1
trap 'rm -rf "$manifest"' EXIT
# A tree comes before what is in it.
find . -mindepth 1 -path ./.git -prune -o -mindepth 1 -printf '%y\0%m\0%s\0%p\0%l\0' >"$manifest/list" || exit 1
{
  find . -path ./.git -prune -o -type f -size -1025k \( \
    -iname 'dockerfile*' -o -iname '*.dockerfile' -o -name 'Containerfile' -o -name '*.dockerignore' \) -print0
  find . -maxdepth 1 -type f -size -1025k \( \
    -iname 'readme*' -o -name 'package.json' -o -name 'requirements.txt' -o -name 'pyproject.toml' -o -name 'Procfile' \
    -o -name '*.py' -o -name '*.js' -o -name '*.mjs' -o -name '*.cjs' -o -name '*.ts' -o -name '*.go' -o -name 'go.mod' \
    -o -name 'Cargo.toml' \) -print0
  find ./cmd ./src -maxdepth 2 -type f -size -1025k \( \
    -name '*.go' -o -name '*.rs' -o -name '*.js' -o -name '*.mjs' -o -name '*.ts' -o -name '*.py' \) -print0 2>/dev/null
  [ -z "$also" ] || [ ! -f "$also" ] || [ -L "$also" ] || printf './%s\0' "$also"
} >"$manifest/wanted"
# The list comes first: the other entries are written over what it names.
tar -c -z -f - -C "$manifest" list -C "$1" --null -T "$manifest/wanted" | base64
