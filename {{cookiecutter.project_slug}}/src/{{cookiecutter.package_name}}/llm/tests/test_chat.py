import asyncio
import logging
import socket
import time
from pathlib import Path

import pytest

from ..backends import MemberError, Prompt, Question
from ..chat import Chat
from ..configuration import ChatMember
from .chatserver import ChatServer
from .conftest import ensemble

PROMPT = Prompt("Answer.", "- rain: 73 %")
KEY = "a-key-that-was-made-up"


def member(model: str, **changes: object) -> ChatMember:
    made = ensemble(model).members[model]
    assert isinstance(made, ChatMember)
    return made.model_copy(update=changes)


def asked(member: ChatMember, prompt: Prompt = PROMPT) -> str:
    async def ask() -> str:
        chat = Chat(member)
        try:
            return await chat.complete(prompt)
        finally:
            await chat.close()

    return asyncio.run(ask())


def test_the_model_is_asked_for_the_same_text_each_time(server: ChatServer) -> None:
    assert asked(member("honest")) == "The rain is forecast to be 73 %."
    (request,) = server.asked
    assert (request["temperature"], request["seed"], request["max_tokens"]) == (0, 0, 100)
    assert [said["role"] for said in request["messages"]] == ["system", "user"]
    assert "Authorization" not in server.headers[0]


def test_the_key_is_sent_and_not_logged(
    server: ChatServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "key").write_text(KEY)
    monkeypatch.setenv("LLM_API_KEY_FILE", str(tmp_path / "key"))
    with caplog.at_level(logging.DEBUG):
        asked(member("honest", key_variable="LLM_API_KEY"))
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in caplog.text
    said = [one.getMessage() for one in caplog.records if one.levelno > logging.DEBUG]
    assert not any("rain" in line for line in said)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("broken", 'answered 500: {"error": {"message": "no memory\\nleft"}}'),
        ("garbage", "the answer is not a chat completion: choices Field required"),
        ("silent", "returned no text"),
        ("cut", "its text was cut off at max_tokens"),
        ("endless", "answered more than 1000000 bytes"),
    ],
)
def test_a_bad_answer_is_an_error_that_says_so(server: ChatServer, model: str, why: str) -> None:
    assert server.url
    with pytest.raises(MemberError) as caught:
        asked(member(model))
    assert " ".join(str(caught.value).split()) == why
    assert not caught.value.away


def test_a_slow_answer_is_given_up(server: ChatServer) -> None:
    assert server.url
    start = time.monotonic()
    with pytest.raises(MemberError, match=r"no answer within 0\.2 s") as caught:
        asked(member("slow", timeout_seconds=0.2))
    assert caught.value.slow
    assert time.monotonic() - start < 5


def test_a_server_that_is_not_there_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("OLLAMA_BASE_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(MemberError, match=r"cannot be reached \(ConnectError\)") as caught:
            asked(member("honest"))
    assert caught.value.away


def test_a_question_is_taken_back_when_nobody_waits(server: ChatServer) -> None:
    async def ask() -> float:
        chat = Chat(member("slow", timeout_seconds=20))
        question = Question(PROMPT)
        answering = asyncio.ensure_future(chat.answer([question]))
        await asyncio.to_thread(server.began.wait, 10)
        start = time.monotonic()
        question.answer.cancel()
        await answering
        await chat.close()
        return time.monotonic() - start

    assert asyncio.run(ask()) < 2


def test_questions_of_a_batch_are_asked_side_by_side(server: ChatServer) -> None:
    async def ask() -> list[str]:
        chat = Chat(member("honest"))
        questions = [Question(Prompt("", f"- load: {number} MW")) for number in range(5)]
        await chat.answer(questions)
        await chat.close()
        return [await question.answer for question in questions]

    server.seconds = 0.2
    assert asyncio.run(ask()) == [f"The load is forecast to be {n} MW." for n in range(5)]
    assert server.most_at_once == 5
