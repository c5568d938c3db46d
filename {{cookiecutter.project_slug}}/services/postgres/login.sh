#!/bin/sh
# Runs once, on an empty volume. The image creates the role $POSTGRES_USER with the password; after a
# rotation of the password (inv env.rotate), services may log in as another role, created here.
set -eu
login="$(cat "$DATABASE_URL_FILE")"
login="${login#*://}"
login="${login%%@*}"
password="${login#*:}"
login="${login%%:*}"
if [ "$login" = "${POSTGRES_USER}_b" ]; then
  # The image has unset POSTGRES_PASSWORD_FILE by now.
  LOGIN_PASSWORD="${password:?}" psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 \
    --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set=login="$login" --set=owner="$POSTGRES_USER" <<'END'
\getenv password LOGIN_PASSWORD
CREATE ROLE :"login" LOGIN PASSWORD :'password' IN ROLE :"owner";
ALTER ROLE :"login" SET role = :"owner";
ALTER ROLE :"owner" PASSWORD NULL;
END
fi
