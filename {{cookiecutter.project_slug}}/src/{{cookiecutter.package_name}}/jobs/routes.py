"""/jobs: submit a job, get it, follow it, cancel it; and the state of all queues."""

import datetime as dt
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Path, Request, Response
from fastapi.responses import StreamingResponse
from redis.exceptions import RedisError

from ..api import authorize, limit
from ..documentation import LIMIT_HEADERS, failures
from ..schemas import Failure
from . import kinds
from .exposition import JobsCollector
from .kinds import Kind
from .schemas import JobsView, JobView, MemoryView, QueueView, RunningView, WorkerView
from .store import FullError, Load, Memory, Priority, Store, TakenError
from .stream import events, watched

KEY = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
"""The pattern of a key, which may become the name of a file."""

Number = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="The job's `id`")]
Key = Annotated[
    str | None,
    Header(pattern=KEY, description="A second request with the same key returns the same job"),
]
Seen = Annotated[str, Header(description="`id` of the last event received")]

AWAY: dict[int | str, dict[str, Any]] = {
    503: {"model": Failure, "description": "Redis, which holds the queues, is not responding"}
}
FULL: dict[int | str, dict[str, Any]] = {
    507: {"model": Failure, "description": "Redis is full: no job is accepted until results expire"}
}
UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"model": Failure, "description": "There is no such job, or it has expired"}
}


def conflict(why: str) -> dict[int | str, dict[str, Any]]:
    return {409: {"model": Failure, "description": why}}


async def opened(request: Request) -> Store:
    """Return the application's job store."""
    store: Store = request.app.state.jobs
    return store


Opened = Annotated[Store, Depends(opened)]


@contextmanager
def reached() -> Iterator[None]:
    """Answer 503 if Redis fails."""
    try:
        yield
    except RedisError as error:
        raise HTTPException(503, f"the queue is not responding ({type(error).__name__})") from error


def looked_up(store: Store, number: str) -> JobView:
    """Return a job, or answer 404."""
    with reached():
        told = store.get(number)
    if told is None:
        raise HTTPException(404, "there is no such job, or it has expired")
    return JobView.of(told)


def make_router(known: Mapping[str, Kind]) -> APIRouter:
    """Return the router for some kinds of jobs."""
    router = APIRouter(
        prefix="/jobs",
        tags=["Jobs"],
        lifespan=connected(known),
        dependencies=[Depends(limit)],
        responses={200: {"headers": LIMIT_HEADERS}, **failures(429), **AWAY},
    )
    for kind in known.values():
        add_kind(router, kind)
    add_overview(router, known)
    router.include_router(of_one)
    return router


def connected(known: Mapping[str, Kind]) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return the lifespan of the router, which keeps a connection to Redis."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = app.state.jobs = Store(app.state.settings.redis_url)
        app.state.jobs_ending = threading.Event()
        app.state.registry.register(JobsCollector(store, kinds.queues(known.values())))
        with watched(app.state.jobs_ending):
            yield
        store.close()

    return lifespan


def add_kind(router: APIRouter, kind: Kind) -> None:
    """Add the endpoint that accepts jobs of a kind, with a schema of its own."""
    router.add_api_route(
        f"/{kind.name}",
        submitting(kind),
        methods=["POST"],
        status_code=202,
        summary=f"Submit a {kind.name} job",
        description=(kind.payload.__doc__ or "").strip(),
        operation_id=f"submit_{kind.name.replace('-', '_')}",
        dependencies=[Depends(authorize)],
        responses={
            **failures(401, 403, 413),
            **conflict("The key was used for another job"),
            **FULL,
        },
    )


def add_overview(router: APIRouter, known: Mapping[str, Kind]) -> None:
    """Add the endpoints for all kinds: the overview, and the answer to an unknown kind."""

    @router.post("/{kind}", include_in_schema=False, dependencies=[Depends(authorize)])
    def submit_unknown(kind: str) -> None:
        """Answer 404 with the kinds that there are."""
        there = ", ".join(known) or "none"
        raise HTTPException(404, f"there is no kind of job {kind[:50]!r}; the kinds are: {there}")

    @router.get(
        "",
        summary="Return the state of all queues and their workers",
        dependencies=[Depends(authorize)],
        responses=failures(401, 403),
    )
    def overview(store: Opened) -> JobsView:
        """List each queue's depth and age, each worker's jobs, and the dead letters."""
        queues = kinds.queues(known.values())
        with reached():
            return JobsView(
                queues=[queue_view(store.load(queue)) for queue in queues],
                memory=memory_view(store.memory()),
                workers=[worker_view(*one) for one in sorted(store.workers().items())],
                dead_letters=[JobView.of(one) for queue in queues for one in store.dead(queue)],
            )


def submitting(kind: Kind) -> Callable[..., JobView]:
    """Return the endpoint that queues jobs of a kind."""

    def submit(
        store: Opened,
        response: Response,
        payload: kind.payload,  # type: ignore[name-defined]  # FastAPI reads it from here
        priority: Priority = "normal",
        idempotency_key: Key = None,
    ) -> JobView:
        asked: str = payload.model_dump_json()
        with reached():
            try:
                number, _ = store.submit(kind, asked, idempotency_key or "", priority)
            except TakenError as error:
                raise HTTPException(409, str(error)) from error
            except FullError as error:
                raise HTTPException(507, str(error)) from error
        response.headers["Location"] = f"/jobs/{number}"
        return looked_up(store, number)

    return submit


of_one = APIRouter(responses=UNKNOWN)


@of_one.get("/{number}", summary="Get a job", response_model_exclude_none=True)
def look(store: Opened, number: Number) -> JobView:
    """Return the state of a job, and its result once there is one."""
    return looked_up(store, number)


@of_one.get(
    "/{number}/events",
    summary="Stream a job's events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Server-sent events"}},
)
def follow(
    store: Opened, request: Request, number: Number, last_event_id: Seen = ""
) -> StreamingResponse:
    """Send the job whenever it changes, until it has ended."""
    looked_up(store, number)
    ending: threading.Event = request.app.state.jobs_ending
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        events(store, number, last_event_id, ending),
        headers=headers,
        media_type="text/event-stream",
    )


@of_one.delete(
    "/{number}",
    summary="Cancel a job",
    status_code=202,
    dependencies=[Depends(authorize)],
    responses=failures(401, 403),
)
def cancel(store: Opened, number: Number) -> JobView:
    """Cancel a waiting job at once; tell a running one to stop; leave an ended one as it is."""
    with reached():
        store.cancel(number)
    return looked_up(store, number)


@of_one.post(
    "/{number}/again",
    summary="Queue a dead letter again",
    status_code=202,
    dependencies=[Depends(authorize)],
    responses={**failures(401, 403), **conflict("The job is not a dead letter")},
)
def again(store: Opened, number: Number) -> JobView:
    """Retry it as if it had never failed."""
    looked_up(store, number)
    with reached():
        if not store.again(number):
            raise HTTPException(409, "the job is not a dead letter")
    return looked_up(store, number)


def queue_view(load: Load) -> QueueView:
    """Return the state of a queue in the form of the API."""
    return QueueView(
        queue=load.queue,
        depth=sum(load.waiting.values()),
        waiting=dict(load.waiting),
        oldest_seconds=round(load.oldest_seconds, 3),
        running=load.running,
        delayed=load.delayed,
        dead=load.dead,
    )


def memory_view(memory: Memory) -> MemoryView:
    return MemoryView(used_bytes=memory.used, limit_bytes=memory.limit)


def worker_view(name: str, said: Mapping[str, Any]) -> WorkerView:
    """Return a worker's report in the form of the API."""
    return WorkerView(
        name=name,
        **{key: said[key] for key in ("queue", "host", "threads", "draining")},
        jobs=[RunningView(**one) for one in said["jobs"]],
        started_at=dt.datetime.fromtimestamp(said["started"], dt.UTC),
    )


router = make_router(kinds.installed())
