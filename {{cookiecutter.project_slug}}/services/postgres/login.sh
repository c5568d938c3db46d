#!/bin/sh
# Run once, for an empty volume: the image makes the role $POSTGRES_USER with the password; services
# may log in as another one, which a rotation of the password has left in use (inv env.rotate).
login="$(cat "$DATABASE_URL_FILE")"
login="${login#*://}"
login="${login%%:*}"
if [ "$login" = "${POSTGRES_USER}_b" ]; then
  psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set=login="$login" --set=owner="$POSTGRES_USER" <<'END'
\set password `cat "$POSTGRES_PASSWORD_FILE"`
CREATE ROLE :"login" LOGIN PASSWORD :'password' IN ROLE :"owner";
ALTER ROLE :"login" SET role = :"owner";
ALTER ROLE :"owner" PASSWORD NULL;
END
fi
