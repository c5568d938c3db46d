#!/bin/sh
# Starts the exporter with the login of DATABASE_URL. The password is passed in a file in memory, because
# other users can read a process's environment. It is not URL-decoded: the template's own URL
# needs no escapes.
set -eu
url="$(cat "$DATABASE_URL_FILE")"
url="${url#*://}"
login="${url%@*}"
place="${url##*@}"
case "$place" in
  # Between containers on one machine; the server has no certificate.
  postgres/*\?*) place="$place&sslmode=disable" ;;
  postgres/*) place="$place?sslmode=disable" ;;
esac
umask 077
printf %s "${login#*:}" > /tmp/password
export DATA_SOURCE_USER="${login%%:*}" DATA_SOURCE_PASS_FILE=/tmp/password DATA_SOURCE_URI="$place"
# Debian uses another name.
exec "$(command -v postgres_exporter || command -v prometheus-postgres-exporter)" "$@"
