# Writes a file for its owner alone, whole or not at all. usage: FILE SIZE_BYTES <CONTENTS
umask 077
mkdir -p "$(dirname "$1")" && cat >"$1.draft" || exit 1
[ "$(wc -c <"$1.draft")" -eq "$2" ] || exit 255
mv "$1.draft" "$1"
