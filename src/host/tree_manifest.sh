# Prints a compressed archive of a clone's tree manifest in base64. usage: CLONE DIRECTORY [FILE]
cd "$1" || exit 1
base=./$2 also=$3
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
# Without -depth, find prints a folder before what is in it: the order in which they are made.
find . -mindepth 1 -path ./.git -prune -o -mindepth 1 -printf '%y\0%m\0%s\0%p\0%l\0' >"$folder/list" || exit 1
{
  find . -path ./.git -prune -o -type f -size -1025k \( \
    -iname 'dockerfile*' -o -iname '*.dockerfile' -o -name 'Containerfile' -o -name '*.dockerignore' \) -print0
  find "$base" -maxdepth 1 -type f -size -1025k \( \
    -iname 'readme*' -o -name 'package.json' -o -name 'requirements.txt' -o -name 'pyproject.toml' -o -name 'Procfile' \
    -o -name '*.py' -o -name '*.js' -o -name '*.mjs' -o -name '*.cjs' -o -name '*.ts' -o -name '*.go' -o -name 'go.mod' \
    -o -name 'Cargo.toml' \) -print0
  find "$base/cmd" "$base/src" -maxdepth 2 -type f -size -1025k \( \
    -name '*.go' -o -name '*.rs' -o -name '*.js' -o -name '*.mjs' -o -name '*.ts' -o -name '*.py' \) -print0 2>/dev/null
  for file in "$base/$also" "./$also"; do
    [ -z "$also" ] || [ ! -f "$file" ] || [ -L "$file" ] || printf '%s\0' "$file"
  done
} >"$folder/wanted"
# The list comes first: the other entries are written over what it names.
tar -c -z -f - -C "$folder" list -C "$1" --null -T "$folder/wanted" | base64
