"""A real transformer, made here: so small that it learns two answers by heart at once."""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ...jobs.job import Job
from .. import configuration, explaining, inprocess, wording
from ..backends import MemberError, Prompt, Question
from ..configuration import Ensemble, ProcessMember
from ..inprocess import InProcess
from ..kinds import Explain, Forecast

torch: Any = pytest.importorskip("torch", reason=f"no torch here: {inprocess.INSTALL}")
transformers: Any = pytest.importorskip("transformers", reason=inprocess.INSTALL)

TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}says:{% endif %}"
)
STEPS = 400
WIDTH = 64  # the least that goes into 4 bits on a processor


def of(rain: float, temperature: float) -> Forecast:
    return Forecast.model_validate(
        {
            "target_key": "2016-01-01",
            "prediction": {"rain": rain, "temp_max": temperature},
            "units": {"rain": "probability", "temp_max": "°C"},
        }
    )


FORECASTS = [of(0.73, 5.6), of(0.12, 21.4)]
PROMPTS = [wording.prompt(forecast) for forecast in FORECASTS]
ANSWERS = [
    "Rain has a 73 % probability , and temp max is 5.6 °C .",
    "Temp max is 21.4 °C , and rain has a 12 % probability .",
]


def tokenizer_of(texts: list[str]) -> Any:  # noqa: ANN401 - untyped
    """Make a tokenizer of the words of some texts."""
    from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: PLC0415

    words = sorted({word for text in texts for word in text.split()})
    vocabulary = {word: number for number, word in enumerate(["<pad>", "<end>", "<?>", *words])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<?>"))  # noqa: S106 - a word
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",  # noqa: S106 - a word
        eos_token="<end>",  # noqa: S106 - a word
        chat_template=TEMPLATE,
    )


def taught(tokenizer: Any, pairs: list[tuple[str, str]]) -> Any:  # noqa: ANN401 - untyped
    """Make a model and teach it what follows each prompt."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # several wait for each other more than they compute
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=512,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rows = [tokenizer.encode(f"{prompt} {answer} <end>") for prompt, answer in pairs]
    given = torch.tensor(rows)  # of one length
    labels = given.clone()
    labels[:, : len(tokenizer.encode(pairs[0][0]))] = -100
    for _ in range(STEPS):
        loss = model(input_ids=given, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.01:  # it knows them by heart
            break
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the model and its tokenizer, once."""
    path = tmp_path_factory.mktemp("model")
    texts = [f"{one.system}\n{one.user}\nsays:" for one in PROMPTS]
    tokenizer = tokenizer_of([*texts, *ANSWERS])
    model = taught(tokenizer, list(zip(texts, ANSWERS, strict=True)))
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def member(path: Path, **changes: object) -> ProcessMember:
    told = {
        "backend": "transformers",
        "path": str(path),
        "device_map": "cpu",
        "weight": 1.0,
        "timeout_seconds": 60,
        "max_tokens": 40,
    }
    return ProcessMember.model_validate({**told, **changes})


def answered(backend: InProcess, *prompts: Prompt) -> list[str | BaseException]:
    async def ask() -> list[str | BaseException]:
        questions = [Question(prompt) for prompt in prompts]
        await backend.answer(questions)
        answers = (question.answer for question in questions)
        return await asyncio.gather(*answers, return_exceptions=True)

    return asyncio.run(ask())


def test_prompts_of_different_length_are_answered_in_one_go_as_alone(folder: Path) -> None:
    backend = InProcess(member(folder))
    longer = Prompt(PROMPTS[1].system, f"words words words\n{PROMPTS[1].user}")
    together = answered(backend, *PROMPTS, longer)
    assert together[:2] == ANSWERS
    assert list(map(str, together)) == [
        str(answered(backend, prompt)[0]) for prompt in (*PROMPTS, longer)
    ]


def test_the_job_is_done_by_a_model_of_this_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch, no_panel: None
) -> None:
    del no_panel
    made = {"local": member(folder).model_dump()}
    told = {"batch_wait_ms": 200, "batch_size_max": 8, "rest_seconds": 30, "members": made}
    monkeypatch.setattr(configuration, "load", lambda: Ensemble.model_validate(told))
    batches: list[int] = []
    monkeypatch.setattr(inprocess, "generate", noting(batches))
    with ThreadPoolExecutor(2) as threads:
        asked = [
            threads.submit(explaining.explain, Explain(forecast=forecast), Job("1"))
            for forecast in FORECASTS
        ]
        results = [one.result(60) for one in asked]
    assert batches == [2]
    assert [one["text"] for one in results] == ANSWERS
    assert [one["by"] for one in results] == [["local"]] * 2


def noting(batches: list[int]) -> Any:  # noqa: ANN401 - stands for a function
    real = inprocess.generate

    def generate(loaded: Any, prompts: Any, *rest: Any) -> Any:  # noqa: ANN401 - the same
        batches.append(len(prompts))
        return real(loaded, prompts, *rest)

    return generate


@pytest.mark.parametrize(("bits", "kind"), [(8, "Linear8bitLt"), (4, "Linear4bit")])
def test_a_model_of_few_bits_says_the_same_and_logs_nothing(
    folder: Path, bits: int, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("bitsandbytes", reason=inprocess.INSTALL)
    loaded = inprocess.load(member(folder, bits=bits))
    assert type(loaded.model.model.layers[0].mlp.up_proj).__name__ == kind
    backend = InProcess(member(folder, bits=bits))
    assert answered(backend, *PROMPTS) == ANSWERS
    assert not caplog.messages


def test_a_text_without_an_end_is_none(folder: Path) -> None:
    (error,) = answered(InProcess(member(folder, max_tokens=3)), PROMPTS[0])
    assert str(error) == "its text was cut off at max_tokens"


def test_what_takes_too_long_is_given_up(folder: Path) -> None:
    backend = InProcess(member(folder, timeout_seconds=0.001, max_tokens=8000))
    (error,) = answered(backend, Prompt("", "anything"))
    assert isinstance(error, MemberError)
    assert error.slow


def test_nothing_is_generated_for_nobody(folder: Path) -> None:
    backend = InProcess(member(folder, max_tokens=8000))
    answered(backend, PROMPTS[0])  # it is loaded now

    async def ask() -> float:
        question = Question(Prompt("", "anything " * 50))
        answering = asyncio.ensure_future(backend.answer([question]))
        await asyncio.sleep(0.05)
        start = time.monotonic()
        question.answer.cancel()
        await answering
        return time.monotonic() - start

    assert asyncio.run(ask()) < 2


def why(path: Path, **changes: object) -> str:
    (error,) = answered(InProcess(member(path, **changes)), Prompt("", "anything"))
    assert isinstance(error, MemberError)
    return str(error)


def test_only_safetensors_are_loaded(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle, which could do anything")
    assert why(tmp_path).startswith(f"{tmp_path} cannot be loaded: ")


def test_no_code_of_the_folder_is_run(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    told = json.loads((folder / "config.json").read_text())
    told |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil"}}
    (tmp_path / "config.json").write_text(json.dumps(told))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert why(tmp_path).startswith(f"{tmp_path} cannot be loaded: ")
    assert not (tmp_path / "ran").exists()


def test_a_folder_that_is_not_there_is_not_looked_for_elsewhere(tmp_path: Path) -> None:
    assert why(tmp_path / "gone") == f"there is no folder {tmp_path / 'gone'}"


def test_what_is_missing_is_said_with_what_to_type(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inprocess, "quantization", missing)
    assert why(folder, bits=4) == f"bitsandbytes is not installed: {inprocess.INSTALL}"


def missing(_bits: int | None) -> object:
    raise ImportError("No module named 'bitsandbytes'", name="bitsandbytes")
