# Prints a compressed archive of a clone's tree manifest in base64. usage: CLONE DIRECTORY FILE GIT
cd "$1" || exit 1
base=./$2 also=$3 hidden=./.git
# With `yes` the names in `.git` are part of it.
[ "$4" != yes ] || hidden=.
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
# Without -depth, find prints a folder before what is in it: the order in which they are made.
find . -mindepth 1 -path "$hidden" -prune -o -mindepth 1 -printf '%y\0%m\0%s\0%p\0%l\0' >"$folder/list" || exit 1
{
  find . -path ./.git -prune -o -type f -size -1025k \( \
    -iname 'dockerfile*' -o -iname '*.dockerfile' -o -name 'Containerfile' -o -name '*.dockerignore' \) -print0
  # Manifests, wherever an application or a workspace may begin.
  find . -path ./.git -prune -o -name node_modules -prune -o -name vendor -prune -o -mindepth 1 -maxdepth 5 -type f -size -1025k \( \
    -name 'package.json' -o -name 'requirements*.txt' -o -name 'pyproject.toml' -o -name 'Pipfile' -o -name 'Procfile' \
    -o -name 'go.mod' -o -name 'Cargo.toml' -o -name 'pom.xml' -o -name '*.gradle' -o -name '*.gradle.kts' \
    -o -name 'compose.y*ml' -o -name 'docker-compose.y*ml' -o -name 'index.html' -o -name 'Gemfile' -o -name 'manage.py' \) -print0
  find "$base" -maxdepth 1 -type f -size -1025k \( \
    -iname 'readme*' -o -name '*.lock' -o -name 'pnpm-lock.yaml' -o -name '.python-version' -o -name 'runtime.txt' \
    -o -name '.tool-versions' -o -name '.nvmrc' -o -name '.node-version' -o -name '.yarnrc.yml' -o -name '.java-version' \
    -o -name 'system.properties' -o -name 'rust-toolchain*' \) -print0
  find "$base" -path '*/.git' -prune -o -name node_modules -prune -o -name vendor -prune -o -mindepth 1 -maxdepth 5 -type f -size -65k \( \
    -name '*.py' -o -name '*.go' -o -name 'main.rs' -o -path '*/src/bin/*.rs' -o -name 'application.properties' \
    -o -name 'application.y*ml' \) -print0
  find "$base" -maxdepth 2 -type f -size -65k \( \
    -name '*.js' -o -name '*.mjs' -o -name '*.cjs' -o -name '*.ts' \) -print0
  for file in "$base/$also" "./$also"; do
    [ -z "$also" ] || [ ! -f "$file" ] || [ -L "$file" ] || printf '%s\0' "$file"
  done
} >"$folder/wanted"
# The list comes first: the other entries are written over what it names.
tar -c -z -f - -C "$folder" list -C "$1" --null -T "$folder/wanted" | base64
