"""A model in a local folder, run in this process by transformers.

It loads only weights in the safetensors format, and no code: other formats can execute programs.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .backends import MemberError, Prompt, Question
from .configuration import ProcessMember

log = logging.getLogger(__name__)

BITS = logging.getLogger("bitsandbytes")
"""It warns at each product of each token if a model of 8 bits was not in float16."""

INSTALL = (
    "pip install -r services/worker-llm/transformers.txt && "
    "pip install -r services/worker-llm/torch.txt; an image built with LLM_TRANSFORMERS=1 has both"
)


@dataclass(frozen=True)
class Loaded:
    """A model and its tokenizer; both are untyped."""

    tokenizer: Any
    model: Any


class InProcess:
    """Generates for a whole batch at a time, padded to the longest prompt, in a thread of its own.

    The model is loaded at the first question; until then, the member counts as slow.
    """

    batches = 1

    def __init__(self, member: ProcessMember) -> None:
        self.member = member
        self._thread = ThreadPoolExecutor(1, "transformers")
        self._loaded: Loaded | None = None
        self._closed = threading.Event()

    async def answer(self, questions: Sequence[Question]) -> None:
        """Generate, until nobody waits for any of the answers."""
        prompts = [question.prompt for question in questions]
        unwanted = threading.Event()

        def look(_answer: object) -> None:
            if all(question.answer.done() for question in questions):
                unwanted.set()

        for question in questions:
            question.answer.add_done_callback(look)
        loop = asyncio.get_running_loop()
        given = await loop.run_in_executor(self._thread, self.generate, prompts, unwanted)
        for question, answer in zip(questions, given, strict=True):
            if isinstance(answer, MemberError):
                question.fail(answer)
            else:
                question.give(answer)

    def generate(
        self, prompts: Sequence[Prompt], unwanted: threading.Event
    ) -> list[str | MemberError]:
        """Return the model's answer to each prompt, or why there is none."""
        try:
            self._loaded = self._loaded or load(self.member)
            if unwanted.is_set():
                return [MemberError("the request was canceled")] * len(prompts)
            return generate(
                self._loaded,
                prompts,
                self.member,
                lambda: unwanted.is_set() or self._closed.is_set(),
            )
        except MemberError as error:
            return [error] * len(prompts)

    async def close(self) -> None:
        """Stop generating."""
        self._closed.set()
        self._thread.shutdown(wait=False, cancel_futures=True)


def load(member: ProcessMember) -> Loaded:
    """Load a model from its folder.

    Raises MemberError if a package is missing, or the folder has no model that is safe to load.
    """
    if not Path(member.path).is_dir():
        raise MemberError(f"there is no folder {member.path}")
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 - an extra
        from transformers.utils import logging as bars  # noqa: PLC0415 - the same

        bars.disable_progress_bar()
        BITS.setLevel(logging.ERROR)
        safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        tokenizer = AutoTokenizer.from_pretrained(member.path, padding_side="left", **safe)
        model = AutoModelForCausalLM.from_pretrained(
            member.path,
            use_safetensors=True,
            device_map=member.device_map,
            dtype="auto",
            quantization_config=quantization(member.bits),
            **safe,
        )
    except ImportError as error:
        log.debug("cannot load %s", member.path, exc_info=True)
        missing = error.name or str(error).partition("\n")[0]
        raise MemberError(f"{missing} is not installed: {INSTALL}") from None
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).strip().partition("\n")[0]
        raise MemberError(f"{member.path} cannot be loaded: {first}") from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Loaded(tokenizer, model.eval())


def quantization(bits: int | None) -> object:
    """Return how to quantise the weights; None to leave them.

    4 bits are NormalFloat: Dettmers et al., QLoRA (2023). 8 bits: Dettmers et al., LLM.int8()
    (2022).
    """
    if bits is None:
        return None
    from transformers import BitsAndBytesConfig  # noqa: PLC0415 - an extra

    if bits == 4:  # noqa: PLR2004 - the number says it
        return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    return BitsAndBytesConfig(load_in_8bit=True)


def generate(
    loaded: Loaded, prompts: Sequence[Prompt], member: ProcessMember, stop: Callable[[], bool]
) -> list[str | MemberError]:
    """Return the likeliest text after each prompt, or why there is none.

    Raises MemberError if it fails for all of them.
    """
    import torch  # noqa: PLC0415 - an extra

    tokenizer, model = loaded.tokenizer, loaded.model
    texts = [written(tokenizer, prompt) for prompt in prompts]
    templated = bool(tokenizer.chat_template)
    given = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=not templated)
    given = {name: given[name].to(model.device) for name in ("input_ids", "attention_mask")}

    def ended(ids: Any, _scores: Any, **_more: Any) -> Any:  # noqa: ANN401 - tensors
        return torch.full((ids.shape[0],), stop(), dtype=torch.bool, device=ids.device)

    try:
        with torch.inference_mode():
            made = model.generate(
                **given,
                do_sample=False,
                max_new_tokens=member.max_tokens,
                max_time=member.timeout_seconds,
                pad_token_id=tokenizer.pad_token_id,
                stopping_criteria=[ended],
            )
    except RuntimeError as error:  # as where a device has no memory left
        first = str(error).strip().partition("\n")[0]
        raise MemberError(f"cannot generate: {first}") from None
    rows = made[:, given["input_ids"].shape[1] :]
    ends = ends_of(model)
    return [finished(tokenizer, row.tolist(), ends, member) for row in rows]


def ends_of(model: Any) -> set[int]:  # noqa: ANN401 - untyped
    """Return the tokens that end a text."""
    ends = model.generation_config.eos_token_id
    return {*ends} if isinstance(ends, list | tuple) else {ends}


def finished(
    tokenizer: Any,  # noqa: ANN401 - untyped
    tokens: Sequence[int],
    ends: set[int],
    member: ProcessMember,
) -> str | MemberError:
    """Return the text of generated tokens, or why there is none."""
    if not ends.intersection(tokens):
        if len(tokens) >= member.max_tokens:
            return MemberError("its text was cut off at max_tokens")
        return MemberError(f"no answer within {member.timeout_seconds:g} s", slow=True)
    text = str(tokenizer.decode(tokens, skip_special_tokens=True)).strip()
    return text or MemberError("returned no text")


def written(tokenizer: Any, prompt: Prompt) -> str:  # noqa: ANN401 - untyped
    """Return a prompt in the model's chat format, or as plain text if it has none."""
    if not tokenizer.chat_template:
        return f"{prompt.system}\n\n{prompt.user}\n\n"
    messages = [
        {"role": "system", "content": prompt.system},
        {"role": "user", "content": prompt.user},
    ]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
