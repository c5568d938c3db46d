"""A model behind a server with OpenAI's chat completions API: Ollama, vLLM and many others."""

import asyncio
import logging
from collections.abc import Sequence

import httpx2
from pydantic import BaseModel, Field, ValidationError

from ..shared import masking
from .backends import MemberError, Prompt, Question
from .configuration import VARIABLE, ChatMember, filled_in, secret

log = logging.getLogger(__name__)

ANSWER_MAX = 1_000_000
"""Bytes of an answer that are read; no text of so few tokens is longer."""
SAID_MAX = 200
"""Characters of a server's error message that are passed on."""
SEED = 0


class Message(BaseModel):
    """The text of an answer."""

    content: str | None = None


class Choice(BaseModel):
    """One answer, and why it ended."""

    message: Message
    finish_reason: str | None = None


class Completion(BaseModel):
    """The part of a response that is read; servers send much more."""

    choices: list[Choice] = Field(min_length=1)


class Chat:
    """An HTTP client. It sends a batch's questions in parallel; the server batches them."""

    batches = 64

    def __init__(self, member: ChatMember) -> None:
        self.member = member
        self.url = f"{filled_in(member.base_url).rstrip('/')}/chat/completions"
        # Never the address itself, which may hold a password.
        self.place = " and ".join(VARIABLE.findall(member.base_url)) or "base_url"
        self.key = secret(member.key_variable)
        self.client = httpx2.AsyncClient(trust_env=False, timeout=member.timeout_seconds)

    async def answer(self, questions: Sequence[Question]) -> None:
        """Ask each question; cancel those that nobody waits for any more."""
        await asyncio.gather(*map(self._answer, questions))

    async def _answer(self, question: Question) -> None:
        asked = asyncio.ensure_future(self.complete(question.prompt))
        question.answer.add_done_callback(lambda _answer: asked.cancel())
        try:
            question.give(await asked)
        except MemberError as error:
            question.fail(error)
        except asyncio.CancelledError:
            if not asked.cancelled():  # not this question: the whole batch is being cancelled
                raise

    async def complete(self, prompt: Prompt) -> str:
        """Return the model's answer.

        Raises MemberError if there is none, or only a part of it, within the time limit.
        """
        log.debug("%s: asked %s", self.member.model, prompt)
        limit = self.member.timeout_seconds
        try:
            async with asyncio.timeout(limit):
                text = said(await self.post(self.request(prompt)))
        except (TimeoutError, httpx2.TimeoutException):
            raise MemberError(f"no answer within {limit:g} s", slow=True) from None
        except httpx2.TransportError as error:
            why = (
                f"cannot be reached ({type(error).__name__}): is a server running at {self.place}?"
            )
            raise MemberError(why, away=True) from None
        log.debug("%s: said %r", self.member.model, text)
        return text

    def request(self, prompt: Prompt) -> dict[str, object]:
        """Return the request body; a server that can gives the same text for the same prompt."""
        return {
            "model": self.member.model,
            "messages": [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": prompt.user},
            ],
            "max_tokens": self.member.max_tokens,
            "temperature": 0,
            "seed": SEED,
            "stream": False,
        }

    async def post(self, request: dict[str, object]) -> bytes:
        """Return the body of the response.

        Raises MemberError if it is too long or reports an error, or httpx2.TransportError.
        """
        key = self.key.get_secret_value() if self.key else ""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        body = bytearray()
        async with self.client.stream("POST", self.url, json=request, headers=headers) as response:
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > ANSWER_MAX:
                    raise MemberError(f"answered more than {ANSWER_MAX} bytes")
        if response.status_code != httpx2.codes.OK:
            complaint = masking.masked(body.decode(errors="replace"))[:SAID_MAX]
            raise MemberError(f"answered {response.status_code}: {' '.join(complaint.split())}")
        return bytes(body)

    async def close(self) -> None:
        await self.client.aclose()


def said(body: bytes) -> str:
    """Return the text of a response.

    Raises MemberError if there is none, or it was cut off.
    """
    try:
        choice = Completion.model_validate_json(body).choices[0]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise MemberError(
            f"the answer is not a chat completion: {place} {first['msg']}".strip()
        ) from None
    if choice.finish_reason == "length":
        raise MemberError("its text was cut off at max_tokens")
    if not (choice.message.content or "").strip():
        raise MemberError("returned no text")
    return choice.message.content or ""
