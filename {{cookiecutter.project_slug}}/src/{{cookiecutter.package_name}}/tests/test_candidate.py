"""The checks of a version that is not served yet, as the command makes them."""

import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import artifacts, memory, signing
from ..artifacts import Metadata
from ..gates import CALIBRATION
from ..problem import FEATURES, TARGETS
from ..settings import ApiSettings
from ..shared.definitions import Estimator
from ..shared.tests.conftest import malicious
from . import faults
from .conftest import TIER, another, module, served
from .test_serving import content, dumped, golden, improbable, nan_stored

CHECKS = ["checksum", "load", "features", "golden", "metrics"]
NOWHERE = {"DATABASE_URL": "postgresql://app@127.0.0.1:1/app", "REDIS_URL": "redis://127.0.0.1:1"}


def made(version: str, **variables: str) -> tuple[int, list[dict[str, Any]]]:
    """Run the command without database and cache; return its code and the checks it made."""
    done = module("candidate", TIER, version, **NOWHERE, **variables)
    first, *others = [json.loads(line) for line in done.stdout.splitlines()]
    assert first == {"checks": CHECKS}, done.stderr
    return done.returncode, others


def test_a_good_version_passes_every_check(settings: ApiSettings) -> None:
    written = another(settings)
    code, checks = made("v1.1")
    assert code == 0
    assert [check["name"] for check in checks] == CHECKS
    assert all(check["ok"] and check["seconds"] >= 0 for check in checks), checks
    assert checks[0]["detail"] == f"sha256 {written.sha256[:12]}..."
    assert 0 < checks[1]["bytes"] < 500e6
    assert checks[-1]["detail"].count(f"compared with {served(settings).version}: ") == 1
    assert made("1.1")[0] == 0


def refusal(version: str = "v1.1", **variables: str) -> tuple[str, str]:
    """Return the check that a version does not pass, the last that is made, and why."""
    code, checks = made(version, **variables)
    assert code == 1
    assert [check["ok"] for check in checks] == [*[True] * (len(checks) - 1), False]
    return checks[-1]["name"], checks[-1]["detail"]


def damaged(settings: ApiSettings, change: Callable[[Any], None]) -> None:
    change(settings.models_dir / another(settings).file)


def test_files_that_are_not_what_was_written(settings: ApiSettings) -> None:
    damaged(settings, lambda file: os.truncate(file, file.stat().st_size - 1))
    name, why = refusal()
    assert (name, "was changed" in why) == ("checksum", True)
    damaged(settings, lambda file: file.write_bytes(file.read_bytes().replace(b"a", b"b", 1)))
    assert refusal("v1.2")[0] == "checksum"
    damaged(settings, lambda file: file.unlink())
    assert "should have one model beside it" in refusal("v1.3")[1]
    damaged(settings, lambda file: file.with_suffix(".json").unlink())
    assert "has no metadata of" in refusal("v1.4")[1]
    damaged(settings, lambda file: file.with_suffix(".json").write_text("{no json"))
    assert "is incomplete: Invalid JSON" in refusal("v1.5")[1]
    damaged(settings, lambda file: file.with_suffix(".h5").touch())
    assert "should have one model beside it" in refusal("v1.6")[1]
    another(settings, version="v9.9")
    assert "says it is" in refusal("v1.7")[1]
    assert "has no metadata of" in refusal("v3.0")[1]


def test_what_is_no_model_does_not_load(settings: ApiSettings) -> None:
    another(settings, b"no model")
    name, why = refusal()
    assert (name, "is not a model" in why) == ("load", True)


def test_what_takes_more_memory_than_there_is_fails_to_load_and_harms_nobody(
    settings: ApiSettings,
) -> None:
    left = memory.available()
    assert left
    another(settings, faults.taking(content(settings), left + left // 10))
    name, why = refusal()
    assert name == "load"
    assert "alloc" in why.lower() or "memory" in why


def test_memory_that_a_forecast_takes_is_told(settings: ApiSettings) -> None:
    another(settings, faults.taking(content(settings), 200_000_000))
    code, checks = made("v1.1")
    assert code == 0, checks
    assert 200e6 < checks[1]["bytes"] < 600e6


def test_a_wrong_order_of_features_is_refused(settings: ApiSettings) -> None:
    another(settings, features=list(FEATURES)[::-1])
    name, why = refusal()
    assert (name, "was trained for other features" in why) == ("features", True)


def test_a_model_that_takes_another_number_of_features_does_not_load(
    settings: ApiSettings,
) -> None:
    another(settings, features=[*FEATURES, "one more"])
    assert refusal()[0] == "load"


def test_outputs_that_do_not_reproduce_are_refused(settings: ApiSettings) -> None:
    told = served(settings).golden.model_copy(deep=True)
    told.outputs[TARGETS[-1].name][0] += 1
    another(settings, golden=told)
    name, why = refusal()
    assert (name, "no longer reproduces its recorded forecasts" in why) == ("golden", True)


def test_outputs_that_are_no_numbers_are_refused(settings: ApiSettings) -> None:
    another(settings, faults.nan_for(content(settings), golden(settings)))
    assert refusal()[0] == "golden"
    nan_stored(settings)
    name, why = refusal("v1.2")
    assert (name, "returned values that are not finite" in why) == ("golden", True)
    another(settings, faults.raising_for(content(settings), golden(settings)))
    assert refusal("v1.3")[0] == "golden"
    improbable(settings)
    assert refusal("v1.4")[0] == "golden"


def test_nan_for_any_zero_is_found_by_the_first_forecast(settings: ApiSettings) -> None:
    another(settings, faults.nan_for(content(settings), np.zeros(len(FEATURES), np.float32)))
    assert refusal()[0] == "load"


def with_metrics(settings: ApiSettings, **changes: object) -> Metadata:
    metrics = dict(served(settings).metrics)
    name = TARGETS[0].name
    metrics[name] = metrics[name].model_copy(update=changes)
    return another(settings, metrics=metrics)


def test_metrics_outside_the_bounds_are_refused(settings: ApiSettings) -> None:
    told = served(settings).metrics[TARGETS[0].name]
    with_metrics(settings, model={**told.model, CALIBRATION: 0.3})
    name, why = refusal()
    assert (name, "calibration error of" in why) == ("metrics", True)
    with_metrics(settings, model={**told.model, told.score: told.model[told.score] * 1.06})
    name, why = refusal("v1.2")
    assert (name, "at most 5% worse is allowed" in why) == ("metrics", True)
    assert made("v1.2", WORSE_MAX="0.07")[0] == 0
    with_metrics(settings, beats_baselines=False)
    assert made("v1.3")[0] == 0
    assert "NOT better" in refusal("v1.3", MUST_BEAT_BASELINES="true")[1]


def test_where_nothing_is_served_there_is_nothing_to_compare_with(settings: ApiSettings) -> None:
    told = served(settings).metrics[TARGETS[0].name]
    with_metrics(settings, model={**told.model, told.score: told.model[told.score] * 10})
    link = settings.models_dir / f"{TIER}_current.onnx"
    link.unlink()
    code, checks = made("v1.1")
    assert checks[-1]["detail"].endswith("cannot be read, so there is no comparison")
    assert code == 0
    link.symlink_to("gone.onnx")
    assert made("v1.1")[0] == 0


def test_a_malicious_pickle_does_not_run(settings: ApiSettings) -> None:
    trace = settings.models_dir / "trace"
    another(settings, malicious(trace), ".pkl")
    name, why = refusal()
    assert name == "load"
    assert "set allow_executable_models: true in config/settings.yaml" in why
    assert not trace.exists()


def test_a_pickle_that_is_allowed_is_checked_as_any_other(
    settings: ApiSettings, estimators: dict[str, Estimator]
) -> None:
    dumped(settings, estimators, ".pkl")
    assert refusal()[0] == "load"
    code, checks = made("v1.1", ALLOW_EXECUTABLE_MODELS="true")
    assert code == 0, checks


def test_signatures_come_before_anything_else(settings: ApiSettings) -> None:
    private, public = signing.make_keys(settings.models_dir.parent / "keys")
    _, other = signing.make_keys(settings.models_dir.parent / "other")
    another(settings)
    name, why = refusal(MODELS_PUBLIC_KEY=str(public))
    assert (name, ".sig is missing" in why) == ("checksum", True)
    another(settings.model_copy(update={"models_signing_key": private}))
    code, checks = made("v1.2", MODELS_PUBLIC_KEY=str(public))
    assert (code, checks[0]["detail"].endswith(f"verified with {public}")) == (0, True)
    assert "is not a signature" in refusal("v1.2", MODELS_PUBLIC_KEY=str(other))[1]


def test_two_files_of_one_version_are_refused(settings: ApiSettings) -> None:
    written = another(settings)
    second = written.model_copy(update={"file": written.file.replace("2026-11-22", "2026-11-23")})
    artifacts.write(settings.models_dir, second, content(settings))
    assert "remove the files of one of them" in refusal()[1]


def test_a_tier_that_there_is_not_is_refused() -> None:
    done = module("candidate", "tier0", "v1.0")
    assert done.returncode == 2
    assert "invalid choice: 'tier0'" in done.stderr
