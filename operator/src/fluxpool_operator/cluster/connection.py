"""Where the API server is and how to log in: `$KUBECONFIG`, else the pod's service account, else `~/.kube/config`.

One source for both clients in the process: ours, and kopf's, which gets the same credentials through its login handler.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from fluxpool_operator.errors import SettingsError

SERVICE_ACCOUNT_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What any HTTP client needs to reach the API server as the operator. Paths may be of temporary files."""

    server: str
    ca_file: str | None
    certificate_file: str | None
    key_file: str | None
    token: str | None
    insecure: bool
    proxy: str | None


async def connect() -> Configuration:
    """Read the configuration of the client.

    Raises:
        SettingsError: there is none, or it cannot be used.
    """
    configuration = Configuration()
    try:
        if _in_a_pod():
            config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        else:
            await config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except config.ConfigException as error:
        raise SettingsError(f"no way to log in to a cluster, neither as a pod nor by a kubeconfig: {error}") from error
    return configuration


def _in_a_pod() -> bool:
    return not os.environ.get("KUBECONFIG") and SERVICE_ACCOUNT_TOKEN.exists()


async def credentials_of(configuration: Configuration) -> Credentials:
    """The credentials as they are now; tokens are read anew where they expire."""
    header = await configuration.get_api_key_with_prefix("BearerToken")
    return Credentials(
        server=configuration.host,
        ca_file=configuration.ssl_ca_cert,
        certificate_file=configuration.cert_file,
        key_file=configuration.key_file,
        token=header.rpartition(" ")[2] if header else None,
        insecure=not configuration.verify_ssl,
        proxy=configuration.proxy,
    )
