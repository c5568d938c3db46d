"""The password of the database in containers: two logins take turns.

Services log in as `app` or as `app_b`, which becomes `app` at once. The one that is not in use gets
the new password, everything moves to it, and then the other one has no password any more.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, ClassVar

from slipway.config import values as config_values
from slipway.core.errors import Refused
from slipway.secret.rotation import DATABASE, scram
from slipway.secret.rotation import probe as rotation_probe
from slipway.secret.rotation.base import (
    ACCEPT,
    CHECK,
    LIMIT,
    MOVE,
    POLL,
    PROBE,
    RECORD,
    RETIRE,
    VALUE,
    Renewal,
    counted,
    described,
    listed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slipway.stack.engines.exec import ServiceContainer
    from slipway.stack.session import Session

SERVICE = "postgres"
LOGIN, URL = "POSTGRES_LOGIN", "DATABASE_URL"
LOGINS = ("app", "app_b")
SOON = 10.0
"""Seconds in which who was just asked has ended what was of before."""
QUIET = 1.0
"""Seconds that a session has to be idle before it is ended."""
WRONG = "password authentication failed"

PSQL = ("psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
LOG_IN = """
IFS= read -r PGPASSWORD
export PGPASSWORD PGCONNECT_TIMEOUT=10
exec psql --no-psqlrc --no-password --quiet --tuples-only --no-align --host="$1" --username="$2" \\
    --dbname="$3" --command='SELECT 1' </dev/null
"""
"""Over the network, with the password that it is given: its own address is not trusted there."""
SILENT = """\
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET log_min_duration_statement = -1;
"""
"""What is kept of a password is no secret like the password, and yet is nothing for a log."""
SESSIONS = """\
SELECT coalesce(json_agg(json_build_object('login', usename, 'address', host(client_addr),
    'busy', state IS DISTINCT FROM 'idle', 'used', extract(epoch FROM state_change))), '[]')
FROM pg_stat_activity WHERE backend_type = 'client backend' AND client_addr IS NOT NULL;
"""
"""Those that came over the network."""


class Database(Renewal):
    """A renewal of POSTGRES_PASSWORD, and of POSTGRES_LOGIN with it."""

    steps: ClassVar[tuple[str, ...]] = (VALUE, ACCEPT, PROBE, RECORD, MOVE, CHECK, RETIRE)
    doing: ClassVar[Mapping[str, str]] = {
        **Renewal.doing,
        RETIRE: "ending what is left of the sessions before",
    }

    def refuse(self) -> None:
        """Find what stands against it."""
        server = self.engine.service_container(SERVICE)
        if server is None:
            what = "as processes, the database is a file of SQLite, which has no password"
            raise Refused(what, f"inv env.rotate {self.name} --engine compose, on a stack of that")
        super().refuse()
        for name in (URL, LOGIN):
            value = self.values.get(name)
            usual = ("default", self.path.name) if name == LOGIN else ("default",)
            if value and value.source not in usual:
                what = f"{name} is set in {value.source}, so services do not follow {self.name}"
                raise Refused(what, f"change the password where {name} leads, then {name} itself")
        self.server = server
        self.role, self.database = (
            server.environment[name] for name in ("POSTGRES_USER", "POSTGRES_DB")
        )
        self.server.container()

    @property
    def login(self) -> str:
        """Who services log in as, as the env file is now."""
        held = config_values.held(self.project, self.session.profile, self.engine.name)
        return held[LOGIN]

    @property
    def password(self) -> str:
        """The password that the env file has now."""
        held = config_values.held(self.project, self.session.profile, self.engine.name)
        return held[self.name]

    def plan(self) -> Iterator[tuple[str, str]]:
        """Yield each step, and what it will do."""
        old, new = self._turn()
        yield VALUE, described(self.order.variable)
        yield ACCEPT, f"the database accepts it for the login {new}, beside that of {old}"
        yield PROBE, f"log in over the network as {new}, and as {old}"
        yield RECORD, f"{LOGIN} and {self.name} into {self.path.name}"
        yield MOVE, self.told_of(self.running(), "one after the other, while it runs")
        yield CHECK, "every service is healthy, each replica forecasts, and as the new login"
        yield RETIRE, f"{old} has no password any more, and its sessions are ended"

    def _turn(self) -> tuple[str, str]:
        """Return who is logged in as before, and after."""
        now = self.login
        other = LOGINS[now == LOGINS[0]]
        return (other, now) if self.resumed else (now, other)

    def value(self) -> str:
        """Make the new value, and see that the one before is what the server has."""
        self._refuse_no_entry(self.login, self.password)
        said = super().value()
        self.old, self.next = self._turn()
        self.before = self.password
        self.new[LOGIN] = self.next
        return said

    def accept(self) -> str:
        """Give the login that is not in use the new password."""
        self._sql(granted(self.next, self.role, scram.verifier(self.new[self.name])))
        return f"{self.next} has it"

    def probe(self) -> str:
        """Log in with both."""
        self._refuse_no_entry(self.next, self.new[self.name])
        self._refuse_no_entry(self.old, self.before)
        return f"{self.next} and {self.old} are let in"

    def follow(self, service: str) -> None:
        """Wait until nothing of a service is at work as another than the env file says."""
        leaving = LOGINS[self.login == LOGINS[0]]
        deadline = time.monotonic() + LIMIT
        calm = 0
        while calm < 2:  # noqa: PLR2004 - one that has just read the file may be on its way
            time.sleep(POLL)
            busy = self._busy(service, leaving)
            calm = 0 if busy else calm + 1
            if time.monotonic() > deadline:
                what = f"{service} is still at work as {leaving}, after {LIMIT:.0f} s"
                raise Refused(what, f"inv deploy.logs --service {service}")
        self.await_health(service, deadline)

    def _busy(self, service: str, login: str) -> bool:
        whose = self.server.addresses()
        return any(
            item["busy"] and item["login"] == login and whose.get(item["address"]) == service
            for item in self._sessions()
        )

    def check(self) -> str:
        """See that all is well, and that who forecasts logs in as the new one."""
        said = super().check()
        self._refuse_no_entry(self.login, self.password)
        now = self._number("SELECT extract(epoch FROM clock_timestamp());")
        answers = rotation_probe.everywhere(
            self.session, [rotation_probe.FORECAST, rotation_probe.HEALTH]
        )
        rotation_probe.refuse_bad(answers)
        deadline = time.monotonic() + SOON
        while names := self._late(now):
            if time.monotonic() > deadline:
                what = f"at work with the value before: {listed(names)}"
                raise Refused(what, "inv deploy.up, which starts them anew, then again")
            time.sleep(POLL)
        return f"{said}; forecasts from {counted(len(answers) // 2, 'replica')}"

    def _late(self, since: float) -> list[str]:
        """Return the services that have sessions of another login which were used since a time.

        One that is looked at, found to be of before and then ended, is there for a moment more.
        """
        whose = self.server.addresses()
        late = [item for item in self._sessions() if (item["used"] or since) > since]
        found = {whose.get(item["address"], "") for item in late if item["login"] != self.login}
        return sorted(found - {"", SERVICE})

    def retire(self) -> str:
        """Take the password from the login before, and end the sessions that are left of it."""
        login = self.login
        old = LOGINS[login == LOGINS[0]]
        self.done.retired = True
        self._sql(closed(old))
        deadline = time.monotonic() + LIMIT
        while left := [item for item in self._sessions() if item["login"] == old]:
            if time.monotonic() > deadline:
                raise Refused(f"{len(left)} sessions of {old} are still at work")
            self._sql(ended(old))
            time.sleep(POLL)
        if self._number(f"SELECT count(*) FROM pg_authid WHERE {_unlocked(old)};"):  # noqa: S608 - of this file
            raise Refused(f"{old} still has a password")
        if before := getattr(self, "before", ""):
            self._refuse_entry(old, before)
        return f"{old} is not let in any more"

    def withdraw(self) -> None:
        """Take the password from the login that was to be the next one."""
        if ACCEPT in self.steps and self.new:
            self._sql(closed(self.next))

    def told(self) -> str:
        """Say what holds in the end."""
        return f"{self.name} is a new one, and services log in as {self.login}."

    def _sessions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self._sql(SESSIONS))
        return found

    def _number(self, query: str) -> float:
        return float(self._sql(query))

    def _sql(self, sql: str) -> str:
        """Run statements as the owner of all, from beside the server: that needs no password.

        Raises:
            Refused: one of them fails.
        """
        who = (f"--username={self.role}", f"--dbname={self.database}")
        done = self.server.run(*PSQL, *who, given=sql)
        if done.code:
            raise Refused(f"the database: {done.err.strip()[-300:]}", "inv deploy.status")
        return done.out.strip()

    def _refuse_no_entry(self, login: str, password: str) -> None:
        """Check that a login is let in.

        Raises:
            Refused: it is not.
        """
        if wrong := self._logged_in(login, password):
            what = f"the database does not let {login} in with the value of {self.path.name}"
            raise Refused(f"{what}: {wrong}", f"put the value back into {self.path.name}")

    def _refuse_entry(self, login: str, password: str) -> None:
        wrong = self._logged_in(login, password)
        if WRONG not in wrong:
            raise Refused(f"{login} is still let in with the value before {wrong}".strip())

    def _logged_in(self, login: str, password: str) -> str:
        return logged_in(self.server, login, self.database, password)


def logged_in(server: ServiceContainer, login: str, database: str, password: str) -> str:
    """Log in over the network; return why that fails, nothing where it does not."""
    command = ("sh", "-c", LOG_IN, "sh", SERVICE, login, database)
    done = server.run(*command, given=f"{password}\n")
    return done.err.strip()[-300:] if done.code else ""


def refuse_shut_out(session: Session) -> None:
    """Check that the database that runs lets in whom the env file names.

    Raises:
        Refused: it does not, so that services which were handed that would lose it.
    """
    engine = session.engine
    server = engine.service_container(SERVICE)
    if server is None or not server.is_defined:
        return
    found = config_values.effective(session.project, session.profile, engine.name)
    values = {item.name: item for item in found}
    if not server.is_running or URL not in values or values[URL].source != config_values.DEFAULT:
        return
    login, password = values[LOGIN].value, values[DATABASE].value
    database = server.environment["POSTGRES_DB"]
    if WRONG in logged_in(server, login, database, password):
        what = (
            f"{DATABASE} ({values[DATABASE].source}) is not what the database lets {login} in with"
        )
        raise Refused(
            what, f"put the value before back; a new one everywhere: inv env.rotate {DATABASE}"
        )


def granted(login: str, owner: str, verifier: str) -> str:
    """Build what gives a login a password, and makes it first where there is none.

    All in one transaction: at no moment does it log in as anybody else.
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


def closed(login: str) -> str:
    """Build what takes the password from a login: nobody is let in as it over the network."""
    return (
        f"DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{login}') THEN"
        f' ALTER ROLE "{login}" PASSWORD NULL; END IF; END $$;\n'
    )


def ended(login: str) -> str:
    """Build what ends the sessions of a login that do nothing."""
    return (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"  # noqa: S608 - of this file
        f" WHERE usename = '{login}' AND client_addr IS NOT NULL AND state = 'idle'"
        f" AND state_change < clock_timestamp() - interval '{QUIET} s';\n"
    )


def _unlocked(login: str) -> str:
    return f"rolname = '{login}' AND rolpassword IS NOT NULL"
