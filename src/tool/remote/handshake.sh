# The first program of a connection: says where the user lives, and keeps the connection until our end closes it.
printf '%s\n' "$HOME"
exec cat >/dev/null
