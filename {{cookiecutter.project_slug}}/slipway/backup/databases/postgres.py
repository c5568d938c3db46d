"""PostgreSQL, backed up by its own tools in scripts; a runner decides where the scripts run."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from slipway.backup.databases.base import (
    BRIEF,
    LIMIT,
    SCRATCH,
    DatabaseContent,
    TableDigest,
    checked_name,
)
from slipway.core.errors import Refused
from slipway.core.files import parse_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from slipway.backup.databases.runners import ScriptRunner

SWAP_LIMIT = 60
"""Seconds to wait for clients that keep reconnecting while the databases are swapped."""
MAINTENANCE = "postgres"
"""The database to connect to while others are created, renamed or deleted."""

CONNECT = """
set -eu
login="$(cat "$DATABASE_URL_FILE")"
login="${login#*://}"
login="${login%%@*}"
export PGHOST=postgres PGUSER="${login%%:*}" PGDATABASE="$POSTGRES_DB" PGCONNECT_TIMEOUT=10
export PGPASSWORD="${login#*:}"
ask() { psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 "$@"; }
"""
"""The start of every script. The password is in a variable, never in an argument list.

It is read from the file, which a rotation may have replaced since this container was started.

The runner sets $FOLDER, the folder of the copy, and $WORK, a temporary one.
"""

SETTLED = """
SET LOCAL search_path = pg_catalog;
SET LOCAL timezone = 'UTC';
SET LOCAL datestyle = 'ISO, YMD';
SET LOCAL intervalstyle = 'iso_8601';
SET LOCAL bytea_output = 'hex';
SET LOCAL extra_float_digits = 1;
SET LOCAL lc_monetary = 'C';
SET LOCAL xmlbinary = 'base64';
SET LOCAL lock_timeout = '60s';
SET LOCAL jit = off;
SELECT count(set_config(name, '0', true)) AS unlimited FROM pg_settings WHERE name IN
    ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout') \\gset
"""
"""Makes the same row the same text for every client, and turns off limits on long queries.

JIT compilation would take longer than it saves.
"""

OURS = """n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (
    SELECT FROM pg_depend d
    WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e')"""
"""Objects that belong neither to the server nor to an extension."""
LABEL = "CASE n.nspname WHEN 'public' THEN c.relname ELSE n.nspname || '.' || c.relname END"

SEQUENCES = f"""
SELECT json_build_object('sequences', coalesce(json_object_agg({LABEL}, (sign(s.increment_by)
    * coalesce(s.last_value, s.start_value - s.increment_by::numeric))::text), '{{}}'))
FROM pg_sequences s
JOIN pg_namespace n ON n.nspname = s.schemaname
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = s.sequencename
WHERE {OURS};
"""  # noqa: S608 - parts of this file
"""The position of each sequence. Read first: sequences are not part of snapshots, and go on."""

EXACT = "{bool,int2,int4,int8,date,timestamp,timestamptz,uuid,bytea}"
TABLES = f"""
SELECT format('SELECT json_build_object(''table'', %L, ''rows'', count(*), ''checksum'', coalesce('
    'sum(hashint8extended(hash_record_extended(ROW(%s), 0), 0)), 0)::text) FROM ONLY %I.%I x',
    {LABEL}, (
        SELECT string_agg(format(
            CASE WHEN a.atttypid = ANY ('{EXACT}'::regtype[])
                THEN 'x.%I' ELSE 'x.%I::text COLLATE "C"' END, a.attname),
            ', ' ORDER BY a.attnum)
        FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    ), n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND {OURS}
ORDER BY c.relpages DESC
\\gexec
"""  # noqa: S608 - the same
"""The sum of the rows' hashes does not depend on their order, and notices duplicates.

Equal values of most types can be written differently (1.0 and 1.00), so their text is hashed; for
types in EXACT, the value itself. A row's hash is hashed again: it is a sum over the columns, and a
sum of such sums would not notice that two rows had swapped a value.
"""

LARGE_OBJECTS = r"""
SELECT json_build_object('large_objects', json_build_object(
    'rows', (SELECT count(*) FROM pg_largeobject_metadata),
    'checksum', (coalesce(sum(hash), 0) + (
        SELECT coalesce(sum(hashtextextended(loid || ' ' || size, 0)::numeric), 0) FROM (
            SELECT loid, max(pageno::bigint * 2048 + length(data)) AS size
            FROM pg_largeobject GROUP BY loid) AS sizes))::text))
FROM (
    SELECT hashtextextended(loid || ' ' || pageno || ' ' || encode(page, 'hex'), 0)::numeric AS hash
    FROM (SELECT loid, pageno, rtrim(data, '\x00'::bytea) AS page FROM pg_largeobject) AS pages
    WHERE page <> '') AS hashes;
"""
"""Hashed without trailing zeros: a part never written may be missing, or be stored as zeros."""

MIGRATION = """
SELECT 'SELECT json_build_object(''migration'','
    ' string_agg(version_num, '','' ORDER BY version_num)) FROM public.alembic_version'
WHERE to_regclass('public.alembic_version') IS NOT NULL
\\gexec
"""

SCHEMA = rf"""
WITH ours AS (
    SELECT c.*, {LABEL} AS label FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {OURS}
), spaces AS (SELECT n.* FROM pg_namespace n
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
), here AS (SELECT * FROM pg_database WHERE datname = current_database()
), described(line) AS (
    SELECT concat_ws(' ', 'relation', label, relkind, relpersistence, relrowsecurity,
        relforcerowsecurity, pg_get_expr(relpartbound, oid), pg_get_partkeydef(oid)) FROM ours
    UNION ALL SELECT concat_ws(' ', 'column', o.label,
        rank() OVER (PARTITION BY o.oid ORDER BY a.attnum), a.attname,
        format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
        (SELECT collname FROM pg_collation WHERE oid = a.attcollation),
        pg_get_expr(d.adbin, d.adrelid))
        FROM pg_attribute a JOIN ours o ON o.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attnum > 0 AND NOT a.attisdropped AND o.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
    UNION ALL SELECT concat_ws(' ', 'constraint', o.label, k.conname, pg_get_constraintdef(k.oid))
        FROM pg_constraint k JOIN ours o ON o.oid = k.conrelid
    UNION ALL SELECT concat_ws(' ', 'index', pg_get_indexdef(i.indexrelid), i.indisvalid)
        FROM pg_index i JOIN ours o ON o.oid = i.indrelid
    UNION ALL SELECT concat_ws(' ', 'view', label, pg_get_viewdef(oid)) FROM ours
        WHERE relkind IN ('v', 'm')
    UNION ALL SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid), t.tgenabled)
        FROM pg_trigger t JOIN ours o ON o.oid = t.tgrelid WHERE NOT t.tgisinternal
    UNION ALL SELECT concat_ws(' ', 'policy', to_jsonb(p)) FROM pg_policies p
    UNION ALL SELECT concat_ws(' ', 'sequence', schemaname, sequencename, data_type, start_value,
        min_value, max_value, increment_by, cycle) FROM pg_sequences
    UNION ALL SELECT concat_ws(' ', 'function', pg_get_functiondef(p.oid))
        FROM pg_proc p JOIN spaces s ON s.oid = p.pronamespace WHERE p.prokind IN ('f', 'p')
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
    UNION ALL SELECT concat_ws(' ', 'enum', s.nspname, t.typname,
        string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder)) FROM pg_enum e
        JOIN pg_type t ON t.oid = e.enumtypid JOIN spaces s ON s.oid = t.typnamespace
        GROUP BY s.nspname, t.typname
    UNION ALL SELECT concat_ws(' ', 'domain', s.nspname, t.typname,
        format_type(t.typbasetype, t.typtypmod), t.typnotnull, t.typdefault,
        (SELECT string_agg(pg_get_constraintdef(k.oid), ',' ORDER BY k.conname)
            FROM pg_constraint k WHERE k.contypid = t.oid))
        FROM pg_type t JOIN spaces s ON s.oid = t.typnamespace WHERE t.typtype = 'd'
    UNION ALL SELECT concat_ws(' ', 'extension', extname, extversion) FROM pg_extension
    UNION ALL SELECT concat_ws(' ', 'schema', nspname) FROM spaces
    UNION ALL SELECT concat_ws(' ', 'owner', datdba::regrole, datconnlimit) FROM here
    UNION ALL SELECT concat_ws(' ', 'grant', g.grantee::regrole, g.privilege_type, g.is_grantable)
        FROM here, aclexplode(coalesce(datacl, acldefault('d', datdba))) g
    UNION ALL SELECT concat_ws(' ', 'setting', s.setrole::regrole, to_jsonb(s.setconfig))
        FROM pg_db_role_setting s JOIN here ON here.oid = s.setdatabase
), plain(line) AS (
    SELECT regexp_replace(regexp_replace(line, '::(character varying|bpchar|text)(\[\])?', '', 'g'),
        '[()]', '', 'g') FROM described
)
SELECT json_build_object('schema', encode(sha256(convert_to(
    coalesce(string_agg(line, E'\n' ORDER BY line COLLATE "C"), ''), 'UTF8')), 'hex')) FROM plain;
"""  # noqa: S608 - the same
"""Casts and brackets are left out: a check on a text column gets others when it is restored."""

PROPERTIES = r"""
WITH here AS (SELECT * FROM pg_database WHERE datname = current_database()),
settings AS (
    SELECT split_part(one, '=', 1) AS key, substr(one, strpos(one, '=') + 1) AS value,
        CASE s.setrole WHEN 0 THEN 'DATABASE :"name"'
            ELSE format('ROLE %s IN DATABASE :"name"', s.setrole::regrole) END AS whose
    FROM pg_db_role_setting s JOIN here ON here.oid = s.setdatabase, unnest(s.setconfig) one
)
SELECT format('ALTER DATABASE :"name" OWNER TO %s;', datdba::regrole) FROM here
UNION ALL SELECT format('ALTER DATABASE :"name" CONNECTION LIMIT %s;', datconnlimit) FROM here
UNION ALL SELECT format('COMMENT ON DATABASE :"name" IS %L;', shobj_description(oid, 'pg_database'))
    FROM here
UNION ALL SELECT format('REVOKE ALL ON DATABASE :"name" FROM PUBLIC, %s;', datdba::regrole)
    FROM here
UNION ALL SELECT format('GRANT %s ON DATABASE :"name" TO %s%s;', g.privilege_type,
        CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END,
        CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' END)
    FROM here, aclexplode(coalesce(datacl, acldefault('d', datdba))) g
UNION ALL SELECT CASE WHEN key IN ('search_path', 'temp_tablespaces', 'local_preload_libraries',
            'session_preload_libraries')
        THEN format('SELECT set_config(%L, %L, false); ALTER %s SET %I FROM CURRENT;',
            key, value, whose, key)
        ELSE format('ALTER %s SET %I TO %L;', whose, key, value) END
    FROM settings;
"""
"""What pg_dump omits from the dump of a single database, as statements about :name.

A list setting is stored with its items quoted, which SET would take for a single item.
"""

SERVER = """
SELECT json_build_object('server',
    'postgres ' || split_part(current_setting('server_version'), ' ', 1));
"""

REST = TABLES + LARGE_OBJECTS + MIGRATION + SCHEMA + SERVER
MEASURE = f"""
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
{SETTLED}{SEQUENCES}{REST}
COMMIT;
"""

DUMP = f"""
export COMPRESS=zstd:3
pg_dump --help | grep -q METHOD || COMPRESS=1  # a server before 16
export COPY='code=0
pg_dump --format=directory --jobs=2 --compress=$COMPRESS --no-sync --lock-wait-timeout=60s \\
    --snapshot="$SNAPSHOT" --file="$FOLDER/dump" 2>"$WORK/said" || code=$?
echo $code >"$WORK/code"'
ask --set=folder="$FOLDER" <<'SQL'
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
{SETTLED}{SEQUENCES}
SELECT pg_export_snapshot() AS snapshot \\gset
\\setenv SNAPSHOT :snapshot
\\! sh -c "$COPY" </dev/null >/dev/null 2>&1 &
\\o :folder/properties.sql
{PROPERTIES}
\\o :folder/bytes
SELECT pg_database_size(current_database());
\\o
{REST}
\\! until test -s "$WORK/code"; do sleep 0.1; done
COMMIT;
SQL
if test "$(cat "$WORK/code")" != 0; then cat "$WORK/said" >&2; exit 1; fi
pg_restore --list "$FOLDER/dump" >"$WORK/list"
printf '{{"copied": %d}}\\n' "$(grep -c ' TABLE DATA ' "$WORK/list")"
"""
"""Measures and copies the same snapshot. The caller flushes the copy to disk."""

ROOM = f"""
free=$(ask --dbname={MAINTENANCE} 2>/dev/null <<'SQL'
CREATE TEMPORARY TABLE room (free text);
COPY room FROM PROGRAM 'stat -f -c "%a * %S" .';
TABLE room;
SQL
) || free=
if test -n "$free" && test -s "$FOLDER/bytes"; then
    free=$(($free)) bytes=$(cat "$FOLDER/bytes")
    log=$bytes
    test "$log" -lt 1200000000 || log=1200000000
    if test "$free" -lt $((bytes + log)); then
        echo "the disk of the database has $((free / 1000000)) MB free," \\
            "but $(((bytes + log) / 1000000)) are needed" >&2
        exit 1
    fi
fi
"""
"""The write-ahead log needs up to max_wal_size too; a full disk would also stop the live database.

The server itself reports the free space in its folder; if it cannot, there is no check.
"""

RESTORE = f"""
{ROOM}
export PGOPTIONS='-c synchronous_commit=off -c maintenance_work_mem=128MB'
createdb --template=template0 {{name}}
pg_restore --exit-on-error --jobs=2 --dbname={{name}} "$FOLDER/dump"
{{then}}
test ! -f "$FOLDER/properties.sql" || ask --dbname={MAINTENANCE} --set=name={{name}} \\
    --file="$FOLDER/properties.sql" >/dev/null
export PGDATABASE={{name}}
"""
"""A partial restore is worthless anyway, so no commit waits for the disk."""

LEFT = f"""
for left in $(ask --dbname={MAINTENANCE} --command="SELECT datname FROM pg_database
        WHERE datname LIKE '{SCRATCH.replace("_", chr(92) + "_")}%'"); do
    dropdb --force --if-exists --maintenance-db={MAINTENANCE} "$left"
done
"""  # noqa: S608 - the same

FAILURES = (
    ("could not translate host name", "it is not running", "inv deploy.up"),
    ("Connection refused", "it is not running", "inv deploy.up"),
    ("timeout expired", "it is not responding", "inv deploy.status"),
    ("the database system is", "it is starting or stopping", "inv deploy.status, then try again"),
    ("password authentication failed", "", "set its original POSTGRES_PASSWORD: {env}"),
    (
        "unsupported version",
        "the dump was made by a newer server than this one",
        "set that server's image in services/postgres/compose.yaml",
    ),
    ("No space left on device", "", "free some space, then try again"),
    ("are needed", "", "free some space, then try again"),
    ("server closed the connection", "it was stopped", "inv deploy.up, then try again"),
    ("terminating connection", "it was stopped", "inv deploy.up, then try again"),
    (
        'ERROR:  role "',
        "the dump contains objects of a role that this server does not have",
        "create that role (CREATE ROLE), then try again",
    ),
    (
        "canceling statement due to lock timeout",
        "a table is locked",
        "end the process that locks it, then try again",
    ),
)
"""Signs in the tools' output, what they mean, and what to do."""


class PostgresDatabase:
    """The database that the service `postgres` keeps."""

    kind = "postgres"

    def __init__(self, runner: ScriptRunner, env_file: str) -> None:
        """Take what runs the scripts, and the name of the file with the profile's values."""
        self.runner = runner
        self.env_file = env_file
        self.live = runner.live

    def start(self, limit: float) -> bool:
        """Start the server if it is not running."""
        return self.runner.start(limit)

    def stop(self) -> None:
        """Stop the server, unless other services are running."""
        self.runner.stop()

    def dump(self, folder: Path) -> DatabaseContent:
        """Let pg_dump write the folder, and measure the same snapshot."""
        said = self._do(DUMP, folder, write=True)
        copied = next(item["copied"] for item in said if "copied" in item)
        content = parse_content(said)
        if copied < len(content.tables):
            tables = len(content.tables)
            raise Refused(f"pg_dump copied {copied} of {tables} tables", "pg_dump --version")
        if not (content.tables or content.large_objects.rows):
            raise Refused("the database is empty: there is nothing to back up", "inv deploy.up")
        return content

    def prove(self, folder: Path) -> DatabaseContent:
        """Restore a copy into a scratch database, which is deleted in any case."""
        name = f"{SCRATCH}{secrets.token_hex(4)}"
        quiet = 'PGOPTIONS="-c client_min_messages=warning"'
        drop = f"{quiet} dropdb --force --if-exists --maintenance-db={MAINTENANCE} {name}"
        script = f"{LEFT}\ntrap '{drop}' EXIT\n{restore_script(name)}{measure_script()}"
        return parse_content(self._do(script, folder))

    def stage(self, folder: Path, name: str) -> DatabaseContent:
        """Restore a copy into a new database, with statistics so that early queries are fast."""
        try:
            analyze = f"ask --dbname={checked_name(name)} --command=ANALYZE"
            return parse_content(
                self._do(f"{LEFT}{restore_script(name, analyze)}{measure_script()}", folder)
            )
        except BaseException:
            with suppress(Refused):
                self.drop(name)
            raise

    def measure(self) -> DatabaseContent:
        """Measure the live database."""
        return parse_content(self._do(measure_script()))

    def swap(self, name: str, old: str) -> None:
        """Rename both databases in one transaction."""
        self._do(
            maintenance_script(swap_statement(self.live, checked_name(name), checked_name(old))),
            limit=SWAP_LIMIT + BRIEF,
        )

    def drop(self, name: str) -> None:
        """Delete a database."""
        self._do(
            maintenance_script(f"DROP DATABASE IF EXISTS {checked_name(name)} WITH (FORCE);"),
            limit=BRIEF,
        )

    def drop_command(self, name: str) -> str:
        """Return the command to type to delete a database."""
        return self.runner.command_to_type(f"dropdb --username={self.runner.user} --force {name}")

    def exists(self, name: str) -> bool:
        """Say whether there is a database of that name."""
        return name in self._databases()

    def other_databases(self) -> list[str]:
        """Return the other databases of the server."""
        return [name for name in self._databases() if name not in (self.live, MAINTENANCE)]

    def _databases(self) -> list[str]:
        query = (
            "SELECT json_build_object('name', datname) FROM pg_database"
            " WHERE NOT datistemplate ORDER BY datname;"
        )
        return [item["name"] for item in self._do(maintenance_script(query), limit=BRIEF)]

    def _do(
        self, script: str, folder: Path | None = None, *, write: bool = False, limit: float = LIMIT
    ) -> list[dict[str, Any]]:
        """Run a script; return the JSON objects that it printed, one per line.

        Raises:
            Refused: it failed.
        """
        done = self.runner.run(CONNECT + script, folder, write=write, limit=limit)
        if done.code:
            raise explain_failure(done.err.strip(), self.env_file)
        return [parse_json(line) for line in done.out.splitlines() if line.startswith("{")]


def explain_failure(said: str, env: str) -> Refused:
    """Explain the last lines of a tool's output; `env` is the profile's env file."""
    what = "\n".join(said.splitlines()[-5:]) or "its tools failed without a message"
    for sign, meaning, fix in FAILURES:
        if sign in said:
            told = f"{meaning}: " if meaning else ""
            return Refused(f"the database: {told}{what}", fix.format(env=env))
    return Refused(f"the database: {what}", "inv deploy.logs --service postgres")


def restore_script(name: str, then: str = "") -> str:
    """Build the script that restores a copy into a new database, and connects to it.

    `then` is run before the settings of the database apply.
    """
    return RESTORE.format(name=name, then=then)


def measure_script() -> str:
    """Build the script that measures the content of a database."""
    return f"ask <<'SQL'\n{MEASURE}SQL\n"


def maintenance_script(sql: str) -> str:
    """Build the script of a statement about other databases than the one connected to."""
    return f"ask --dbname={MAINTENANCE} <<'SQL'\n{sql}\nSQL\n"


def swap_statement(live: str, name: str, old: str) -> str:
    """Build the statement that swaps two databases: both are renamed, or neither.

    A database in use cannot be renamed, and a client may reconnect before the rename: it is then
    disconnected again.
    """
    return f"""DO $$
DECLARE deadline timestamptz := clock_timestamp() + interval '{SWAP_LIMIT} s';
BEGIN
    LOOP
        PERFORM pg_stat_clear_snapshot();
        PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname IN ('{live}', '{name}') AND pid <> pg_backend_pid();
        BEGIN
            IF EXISTS (SELECT FROM pg_database WHERE datname = '{live}') THEN
                ALTER DATABASE "{live}" RENAME TO "{old}";
            END IF;
            ALTER DATABASE "{name}" RENAME TO "{live}";
            RETURN;
        EXCEPTION WHEN object_in_use THEN
            IF clock_timestamp() > deadline THEN RAISE; END IF;
            PERFORM pg_sleep(0.05);
        END;
    END LOOP;
END $$;"""


def parse_content(said: Sequence[dict[str, Any]]) -> DatabaseContent:
    """Parse what the scripts printed about a database.

    Raises:
        Refused: a part is missing.
    """
    facts = {key: value for item in said if "table" not in item for key, value in item.items()}
    tables = {
        item["table"]: TableDigest(item["rows"], item["checksum"])
        for item in said
        if "table" in item
    }
    try:
        return DatabaseContent(
            facts["server"],
            facts.get("migration") or "",
            facts["schema"],
            tables,
            {name: int(number) for name, number in facts["sequences"].items()},
            TableDigest(**facts["large_objects"]),
        )
    except KeyError as error:
        raise Refused(f"the database did not report its {error.args[0]}") from error
