import errno
import os
from pathlib import Path

import pytest

from ..console import AppError, explain, progress, run


class OtherError(AppError):
    exit_code = 2


def test_an_expected_failure_is_its_message_and_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main() -> None:
        raise OtherError("no good")

    with pytest.raises(SystemExit) as end:
        run(main)
    assert end.value.code == OtherError.exit_code != AppError.exit_code
    assert capsys.readouterr().err == "error: no good\n"


def test_a_refusal_of_the_operating_system_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SystemExit) as end:
        run((file / "models").mkdir)
    assert end.value.code == AppError.exit_code
    assert capsys.readouterr().err == f"error: {file}/models: Not a directory; check that path\n"


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "free space"), (errno.EROFS, "mount it"), (errno.EACCES, "give this user")],
)
def test_a_refusal_says_what_to_do(number: int, remedy: str) -> None:
    assert f"models: {os.strerror(number)}; {remedy}" in explain(
        OSError(number, os.strerror(number), "models")
    )


def test_any_other_failure_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(lambda: print(1 / 0))


def test_progress_leaves_standard_output_to_results(capsys: pytest.CaptureFixture[str]) -> None:
    progress("half way")
    assert capsys.readouterr() == ("", "half way\n")
