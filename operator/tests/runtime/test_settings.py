"""The settings, from the environment and from flags."""

import argparse
from pathlib import Path

import pytest

from fluxpool_operator.errors import SettingsError
from fluxpool_operator.settings import ENVIRONMENT_PREFIX, Settings, add_flags, load


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(ENVIRONMENT_PREFIX + name.upper(), raising=False)
    monkeypatch.setenv("FLUXPOOL_OPERATOR_INFERENCE_IMAGE", "fluxpool:1")


def test_the_image_alone_is_enough() -> None:
    settings = load({})
    assert settings.inference_image == "fluxpool:1"
    assert (settings.namespaces, settings.prometheus_url, settings.workers) == ((), None, 8)
    assert (settings.scale_interval_seconds, settings.resync_seconds, settings.http_port) == (2, 300, 8080)


def test_every_setting_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "NAMESPACES": "team-a, team-b,",
        "PROMETHEUS_URL": "https://prometheus:9090/tenant",
        "PROMETHEUS_TOKEN_FILE": "/run/token",
        "PROMETHEUS_CA_FILE": "/run/ca.pem",
        "PROMETHEUS_HEADERS": '{"X-Scope-OrgID": "team"}',
        "PROMETHEUS_MATCHERS": 'cluster="a"',
        "SCALE_INTERVAL_SECONDS": "0.5",
        "RESYNC_SECONDS": "60",
        "WORKERS": "2",
        "INFERENCE_IMAGE": "fluxpool:2",
        "INFERENCE_IMAGE_PULL_POLICY": "Never",
        "SERVICE_MONITOR": "true",
        "SERVICE_MONITOR_LABELS": '{"release": "prometheus"}',
        "SERVICE_MONITOR_INTERVAL": "30s",
        "LOG_FORMAT": "text",
        "LOG_LEVEL": "DEBUG",
        "HTTP_PORT": "9000",
    }
    assert {name.lower() for name in given} == set(Settings.model_fields)
    for name, text in given.items():
        monkeypatch.setenv(ENVIRONMENT_PREFIX + name, text)
    settings = load({})
    assert settings.namespaces == ("team-a", "team-b")
    assert str(settings.prometheus_url) == "https://prometheus:9090/tenant"
    assert settings.prometheus_token_file == Path("/run/token")
    assert settings.prometheus_headers == {"X-Scope-OrgID": "team"}
    assert settings.service_monitor is True
    assert settings.service_monitor_labels == {"release": "prometheus"}
    assert settings.scale_interval_seconds == 0.5


def test_an_empty_variable_is_an_absent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NAMESPACES", "PROMETHEUS_URL", "PROMETHEUS_HEADERS", "WORKERS"):
        monkeypatch.setenv(ENVIRONMENT_PREFIX + name, "")
    assert load({}).workers == 8


def test_every_setting_is_a_flag_and_a_flag_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXPOOL_OPERATOR_WORKERS", "2")
    parser = argparse.ArgumentParser()
    add_flags(parser)
    parsed = parser.parse_args(["--workers", "3", "--namespaces", "a,b", "--prometheus-headers", '{"a": "b"}'])
    assert set(vars(parsed)) == set(Settings.model_fields)
    settings = load(vars(parsed))
    assert (settings.workers, settings.namespaces, settings.prometheus_headers) == (3, ("a", "b"), {"a": "b"})
    assert "--scale-interval-seconds" in parser.format_help()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("WORKERS", "0", "input should be greater than or equal to 1 (it is '0')"),
        ("WORKERS", "many", "input should be a valid integer"),
        ("SCALE_INTERVAL_SECONDS", "0", "input should be greater than or equal to 0.1"),
        ("PROMETHEUS_URL", "prometheus:9090", "URL scheme should be 'http' or 'https'"),
        ("PROMETHEUS_HEADERS", "X-Scope-OrgID: team", "this is not JSON"),
        ("PROMETHEUS_HEADERS", '["a"]', "input should be a valid dictionary"),
        ("PROMETHEUS_HEADERS", '{"a": 1}', "input should be a valid string"),
        ("NAMESPACES", "Team_A", "string should match pattern"),
        ("SERVICE_MONITOR_INTERVAL", "often", "string should match pattern"),
        ("SERVICE_MONITOR", "perhaps", "input should be a valid boolean"),
        ("LOG_FORMAT", "xml", "input should be 'json' or 'text'"),
        ("INFERENCE_IMAGE_PULL_POLICY", "Sometimes", "input should be 'Always', 'IfNotPresent' or 'Never'"),
        ("HTTP_PORT", "70000", "input should be less than or equal to 65535"),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_variable(
    name: str, text: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT_PREFIX + name, text)
    with pytest.raises(SettingsError) as caught:
        load({})
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"FLUXPOOL_OPERATOR_{name}: ")
    assert words.lower() in line.lower()


def test_several_bad_values_are_all_named_and_a_missing_one_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLUXPOOL_OPERATOR_INFERENCE_IMAGE")
    monkeypatch.setenv("FLUXPOOL_OPERATOR_WORKERS", "-1")
    with pytest.raises(SettingsError) as caught:
        load({})
    assert "FLUXPOOL_OPERATOR_WORKERS: " in str(caught.value)
    assert "FLUXPOOL_OPERATOR_INFERENCE_IMAGE is not set: it must be the image of inference pods" in str(caught.value)
