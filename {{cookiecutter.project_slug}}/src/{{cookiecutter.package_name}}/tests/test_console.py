import pytest

from ..console import AppError, progress, run
from ..settings import SettingsError


def test_an_expected_failure_is_its_message_and_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main() -> None:
        raise SettingsError("no good")

    with pytest.raises(SystemExit) as end:
        run(main)
    assert end.value.code == SettingsError.exit_code != AppError.exit_code
    assert capsys.readouterr().err == "error: no good\n"


def test_any_other_failure_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(lambda: print(1 / 0))


def test_progress_leaves_standard_output_to_results(capsys: pytest.CaptureFixture[str]) -> None:
    progress("half way")
    assert capsys.readouterr() == ("", "half way\n")
