#!/bin/sh
# The exporter with the login of DATABASE_URL. Its password goes in by a file in memory: what is in
# the environment of a process can be read by others. It is taken as it is written: in the template's
# own URL no sign stands for another.
set -eu
url="$(cat "$DATABASE_URL_FILE")"
url="${url#*://}"
login="${url%@*}"
place="${url##*@}"
case "$place" in
  # Between containers of one machine, and the server has no certificate.
  postgres/*\?*) place="$place&sslmode=disable" ;;
  postgres/*) place="$place?sslmode=disable" ;;
esac
umask 077
printf %s "${login#*:}" > /tmp/password
export DATA_SOURCE_USER="${login%%:*}" DATA_SOURCE_PASS_FILE=/tmp/password DATA_SOURCE_URI="$place"
# Debian calls it otherwise.
exec "$(command -v postgres_exporter || command -v prometheus-postgres-exporter)" "$@"
