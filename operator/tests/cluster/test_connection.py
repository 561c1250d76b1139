"""Where the API server is, and how to log in."""

from pathlib import Path

import pytest
import yaml
from kubernetes.aio.client import Configuration

from fluxpool_operator.cluster import connect, connection
from fluxpool_operator.cluster.connection import Credentials, credentials_of
from fluxpool_operator.errors import SettingsError


def kubeconfig(path: Path) -> Path:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://api:6443", "insecure-skip-tls-verify": True}}],
        "users": [{"name": "u", "user": {"token": "abc"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


async def test_a_kubeconfig_counts_more_than_a_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kubeconfig(tmp_path / "config")
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    monkeypatch.setattr(connection, "SERVICE_ACCOUNT_TOKEN", path)
    assert await credentials_of(await connect()) == Credentials(
        server="https://api:6443",
        ca_file=None,
        certificate_file=None,
        key_file=None,
        token="abc",
        insecure=True,
        proxy=None,
    )


async def test_without_any_the_process_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="no way to log in to a cluster"):
        await connect()


async def test_a_pod_uses_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token, ca = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("of-the-pod")
    ca.write_text("a certificate")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(connection, "SERVICE_ACCOUNT_TOKEN", token)
    monkeypatch.setattr("kubernetes.aio.config.incluster_config.SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr("kubernetes.aio.config.incluster_config.SERVICE_CERT_FILENAME", str(ca))
    known = await credentials_of(await connect())
    assert (known.server, known.token, known.ca_file) == ("https://10.96.0.1:443", "of-the-pod", str(ca))


async def test_without_a_token_there_is_none() -> None:
    assert (await credentials_of(Configuration(host="http://localhost:8001"))).token is None
