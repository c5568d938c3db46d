"""The database's password, in containers: two logins take turns.

Services log in as `app` or as `app_b`, which becomes `app` at once. The login that is not in use
gets the new password, all services move to it, and then the other login loses its password.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from typing import TYPE_CHECKING, Any

from slipway.config import values as config_values
from slipway.core.errors import Refused
from slipway.core.files import parse_json_value
from slipway.secret.rotation.base import RotationStep, count_of, join_names
from slipway.secret.rotation.env_file import LIMIT, POLL, EnvFileRotation, await_health
from slipway.secret.rotation.probe import FORECAST, HEALTH, ask_replicas, refuse_bad_answers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slipway.secret.rotation.base import RotationRequest
    from slipway.stack.engines.exec import ServiceContainer
    from slipway.stack.session import Session

SERVICE, POSTGRES_PASSWORD = "postgres", "POSTGRES_PASSWORD"  # pragma: allowlist secret
LOGIN, URL = "POSTGRES_LOGIN", "DATABASE_URL"
LOGINS = ("app", "app_b")
SOON = 10.0
"""Seconds in which a service that was just asked ends its sessions with the previous login."""
QUIET = 1.0
"""Seconds that a session has to be idle before it is ended."""
WRONG = "password authentication failed"
ITERATIONS = 4096
"""PostgreSQL's own number; the password is random, so more would add nothing."""

PSQL = ("psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
LOG_IN = """
IFS= read -r PGPASSWORD
export PGPASSWORD PGCONNECT_TIMEOUT=10
exec psql --no-psqlrc --no-password --quiet --tuples-only --no-align --host="$1" --username="$2" \\
    --dbname="$3" --command='SELECT 1' </dev/null
"""
"""Logs in over the network: from its own address, the server asks for no password."""
SILENT = """\
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET log_min_duration_statement = -1;
"""
"""A verifier is not as secret as its password, but does not belong in a log."""
SESSIONS = """\
SELECT coalesce(json_agg(json_build_object('login', usename, 'address', host(client_addr),
    'busy', state IS DISTINCT FROM 'idle', 'used', extract(epoch FROM state_change))), '[]')
FROM pg_stat_activity WHERE backend_type = 'client backend' AND client_addr IS NOT NULL;
"""
"""Sessions that came over the network."""


class PostgresServer:
    """The database server, in its container."""

    def __init__(self, container: ServiceContainer) -> None:
        """Take its container; nothing is asked of the server yet."""
        self.container = container
        self.owner = container.environment["POSTGRES_USER"]
        self.database = container.environment["POSTGRES_DB"]

    def run_sql(self, sql: str) -> str:
        """Run statements as the owner of the database, from inside, which needs no password.

        Raises:
            Refused: one of them fails.
        """
        who = (f"--username={self.owner}", f"--dbname={self.database}")
        done = self.container.run(*PSQL, *who, given=sql)
        if done.code:
            raise Refused(f"the database: {done.err.strip()[-300:]}", "inv deploy.status")
        return done.out.strip()

    def open_sessions(self) -> list[dict[str, Any]]:
        """Return the sessions of the network, each with the service that it belongs to."""
        services = self.container.addresses()
        found: list[dict[str, Any]] = parse_json_value(self.run_sql(SESSIONS))
        return [item | {"service": services.get(item["address"], "")} for item in found]

    def clock(self) -> float:
        """Return the server's time, in seconds."""
        return float(self.run_sql("SELECT extract(epoch FROM clock_timestamp());"))

    def has_password(self, login: str) -> bool:
        """Tell whether a login has a password."""
        where = f"rolname = '{login}' AND rolpassword IS NOT NULL"
        return self.run_sql(f"SELECT count(*) FROM pg_authid WHERE {where};") != "0"  # noqa: S608 - of this file

    def login_error(self, login: str, password: str) -> str:
        """Log in over the network; return why that fails, or nothing if it does not."""
        command = ("sh", "-c", LOG_IN, "sh", SERVICE, login, self.database)
        done = self.container.run(*command, given=f"{password}\n")
        return done.err.strip()[-300:] if done.code else ""


class PostgresPasswordRotation(EnvFileRotation):
    """Rotates POSTGRES_PASSWORD, and POSTGRES_LOGIN with it."""

    def __init__(self, request: RotationRequest) -> None:
        """Check that the rotation is possible."""
        container = request.session.engine.service_container(SERVICE)
        if container is None:
            what = "as processes, the database is a file of SQLite, which has no password"
            raise Refused(what, f"inv env.rotate {POSTGRES_PASSWORD} --engine compose")
        super().__init__(request)
        self._refuse_own_url()
        self.server = PostgresServer(container)
        container.container()
        self.old_login, self.new_login, self.old_password = "", "", ""
        """Known from the first step on; a rotation that is resumed has no old password."""

    def _refuse_own_url(self) -> None:
        """Check that services follow the password: that nobody has set their URL or login."""
        for name, usual in ((URL, ("default",)), (LOGIN, ("default", self.path.name))):
            value = self.values.get(name)
            if value and value.source not in usual:
                what = f"{name} is set in {value.source}, so services do not follow {self.name}"
                raise Refused(what, f"change the password where {name} leads, then {name} itself")

    @property
    def current_login(self) -> str:
        """The login that the env file names now."""
        return self.current_value(LOGIN)

    def _logins(self) -> tuple[str, str]:
        """Return the login that services leave, and the one they move to."""
        current = self.current_login
        return (other_login(current), current) if self.resumed else (current, other_login(current))

    def plan_steps(self) -> Iterator[RotationStep]:
        """Yield the steps in order."""
        old, new = self._logins()
        services = self.handover.in_order(self.running_readers)
        yield self.value_step()
        yield RotationStep(
            "accept", f"the database accepts it for the login {new}, beside that of {old}",
            self.accept_value, changes=True, once=True,
        )  # fmt: skip
        yield RotationStep(
            "probe", f"log in over the network as {new}, and as {old}", self.try_logins, once=True
        )
        yield self.record_step(f"{LOGIN} and {self.name} into {self.path.name}")
        yield self.move_step(self.restart_text(services, "one service at a time, while it runs"))
        yield self.check_step("every service is healthy; each replica forecasts, as the new login")
        yield RotationStep(
            "retire", f"{old} loses its password, and its sessions are ended",
            self.retire_login, "ending the sessions of the previous login",
        )  # fmt: skip

    def make_value(self) -> str:
        """Make the new password, and look whether the server has the previous one."""
        login, password = self.current_login, self.current_value()
        self._refuse_no_login(login, password)
        text = super().make_value()
        self.old_login, self.new_login = self._logins()
        self.old_password = self.current_value()
        self.new[LOGIN] = self.new_login
        return text

    def accept_value(self) -> str:
        """Give the login that is not in use the new password."""
        verifier = scram_verifier(self.new[self.name])
        self.server.run_sql(grant_sql(self.new_login, self.server.owner, verifier))
        return f"{self.new_login} has it"

    def try_logins(self) -> str:
        """Log in with both."""
        self._refuse_no_login(self.new_login, self.new[self.name])
        self._refuse_no_login(self.old_login, self.old_password)
        return f"{self.new_login} and {self.old_login} can log in"

    def follow_service(self, service: str) -> None:
        """Wait until nothing of a service is at work with another login than the env file's."""
        old = other_login(self.current_login)
        deadline = time.monotonic() + LIMIT
        calm = 0
        while calm < 2:  # noqa: PLR2004 - a session may just be starting with what was read before
            time.sleep(POLL)
            calm = 0 if self._is_busy(service, old) else calm + 1
            if time.monotonic() > deadline:
                what = f"{service} is still at work as {old}, after {LIMIT:.0f} s"
                raise Refused(what, f"inv deploy.logs --service {service}")
        await_health(self.engine, service, deadline)

    def _is_busy(self, service: str, login: str) -> bool:
        return any(
            item["busy"] and item["login"] == login and item["service"] == service
            for item in self.server.open_sessions()
        )

    def check_services(self) -> str:
        """Check that everything is healthy, and that forecasts use the new login."""
        text = super().check_services()
        self._refuse_no_login(self.current_login, self.current_value())
        since = self.server.clock()
        answers = ask_replicas(self.session, [FORECAST, HEALTH])
        refuse_bad_answers(answers)
        deadline = time.monotonic() + SOON
        while names := self._late_services(since):
            if time.monotonic() > deadline:
                what = f"still using the previous login: {join_names(names)}"
                raise Refused(what, "inv deploy.up, which restarts them, then try again")
            time.sleep(POLL)
        return f"{text}; forecasts from {count_of(len(answers) // 2, 'replica')}"

    def _late_services(self, since: float) -> list[str]:
        """Return the services with sessions of another login that were used since a time.

        A session that a service finds to be of the previous login, and ends, is there a moment
        longer.
        """
        found = {
            item["service"]
            for item in self.server.open_sessions()
            if (item["used"] or since) > since and item["login"] != self.current_login
        }
        return sorted(found - {"", SERVICE})

    def retire_login(self) -> str:
        """Take the password from the previous login, and end its sessions."""
        old = other_login(self.current_login)
        self.retired = True
        self.server.run_sql(revoke_sql(old))
        deadline = time.monotonic() + LIMIT
        while left := [item for item in self.server.open_sessions() if item["login"] == old]:
            if time.monotonic() > deadline:
                raise Refused(f"{count_of(len(left), 'session')} of {old} still at work")
            self.server.run_sql(end_sessions_sql(old))
            time.sleep(POLL)
        self._refuse_login(old)
        return f"{old} cannot log in any more"

    def _refuse_login(self, login: str) -> None:
        """Check that nobody can log in as the previous login."""
        if self.server.has_password(login):
            raise Refused(f"{login} still has a password")
        if self.old_password:
            error = self.server.login_error(login, self.old_password)
            if WRONG not in error:
                raise Refused(f"{login} can still log in with the old password {error}".strip())

    def withdraw(self) -> None:
        """Take the password from the login that services were to move to."""
        if self.new:
            self.server.run_sql(revoke_sql(self.new_login))

    @property
    def outcome(self) -> str:
        """What to print once the rotation is done."""
        return f"{self.name} has a new value, and services log in as {self.current_login}."

    def _refuse_no_login(self, login: str, password: str) -> None:
        """Check that a login works.

        Raises:
            Refused: it does not.
        """
        if error := self.server.login_error(login, password):
            what = f"the database does not accept {login} with the value of {self.path.name}"
            raise Refused(f"{what}: {error}", f"put the right value back into {self.path.name}")


def other_login(login: str) -> str:
    """Return the login that takes turns with one."""
    return LOGINS[login == LOGINS[0]]


def refuse_wrong_password(session: Session) -> None:
    """Check that the running database accepts the password of the env file.

    Raises:
        Refused: it does not, and services that were handed it would lose the database.
    """
    container = session.engine.service_container(SERVICE)
    if container is None or not container.is_defined:
        return
    found = config_values.effective_values(session.project, session.profile, session.engine.name)
    values = {item.name: item for item in found}
    usual = URL in values and values[URL].source == config_values.DEFAULT
    if not container.is_running or not usual:
        return
    login, password = values[LOGIN].value, values[POSTGRES_PASSWORD]
    if WRONG in PostgresServer(container).login_error(login, password.value):
        what = f"the database does not accept {POSTGRES_PASSWORD} ({password.source}) for {login}"
        fix = f"put the previous value back; for a new one: inv env.rotate {POSTGRES_PASSWORD}"
        raise Refused(what, fix)


def grant_sql(login: str, owner: str, verifier: str) -> str:
    """Build what gives a login a password, and makes the login first if it is missing.

    It is one transaction, so the login never acts as anybody but the owner.
    """
    create = f"""\
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{login}') THEN
        CREATE ROLE "{login}" LOGIN IN ROLE "{owner}";
        ALTER ROLE "{login}" SET role = '{owner}';
    END IF;
END $$;
"""
    made = "" if login == owner else create
    return f"{SILENT}BEGIN;\n{made}ALTER ROLE \"{login}\" LOGIN PASSWORD '{verifier}';\nCOMMIT;\n"


def revoke_sql(login: str) -> str:
    """Build what takes the password from a login, so that it cannot log in over the network."""
    return (
        f"DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{login}') THEN"
        f' ALTER ROLE "{login}" PASSWORD NULL; END IF; END $$;\n'
    )


def end_sessions_sql(login: str) -> str:
    """Build what ends the idle sessions of a login."""
    return (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"  # noqa: S608 - of this file
        f" WHERE usename = '{login}' AND client_addr IS NOT NULL AND state = 'idle'"
        f" AND state_change < clock_timestamp() - interval '{QUIET} s';\n"
    )


def scram_verifier(password: str, salt: bytes = b"") -> str:
    """Return what PostgreSQL keeps of a password (SCRAM-SHA-256, RFC 5803); ASCII only.

    The server never has to be sent the password itself.
    """
    salt = salt or secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    encoded, *keys = (base64.b64encode(item).decode("ascii") for item in (salt, stored, server))
    return f"SCRAM-SHA-256${ITERATIONS}:{encoded}${':'.join(keys)}"
