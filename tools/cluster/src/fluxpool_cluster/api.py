"""A small client of the API server: JSON over HTTPS with a bearer token, straight from one of our kubeconfigs."""

import base64
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from fluxpool_cluster.errors import ApiError

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"


class ApiClient:
    """Requests to one API server. Connection failures are raised as OSError."""

    def __init__(self, server: str, authority: str, token: str, timeout_seconds: float = 5) -> None:
        self._server = server
        self._token = token
        self._timeout_seconds = timeout_seconds
        context = ssl.create_default_context(cadata=authority)
        # The machine's HTTP proxy, if it has one, does not know this address.
        no_proxy = urllib.request.ProxyHandler({})
        self._opener = urllib.request.build_opener(no_proxy, urllib.request.HTTPSHandler(context=context))

    @classmethod
    def from_kubeconfig(cls, path: Path) -> "ApiClient":
        """A client for the only context of a kubeconfig that `credentials` wrote."""
        config = json.loads(path.read_text(encoding="utf-8"))
        cluster = config["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        return cls(cluster["server"], authority, config["users"][0]["user"]["token"])

    def text(self, path: str) -> str:
        """GET a path that answers with plain text, for example /readyz."""
        return self._send("GET", path, None, "application/json")

    def get(self, path: str) -> Any:
        """GET an object or a list."""
        return json.loads(self._send("GET", path, None, "application/json"))

    def create(self, path: str, body: Any) -> Any:
        """POST an object to its collection."""
        return json.loads(self._send("POST", path, body, "application/json"))

    def patch(self, path: str, body: Any, content_type: str) -> Any:
        """PATCH an object with a JSON patch or a merge patch."""
        return json.loads(self._send("PATCH", path, body, content_type))

    def delete(self, path: str) -> None:
        """DELETE an object; one that is gone already is fine."""
        try:
            self._send("DELETE", path, None, "application/json")
        except ApiError as error:
            if error.status != 404:
                raise

    def _send(self, method: str, path: str, body: Any, content_type: str) -> str:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type}
        url = self._server + path
        request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310 - always https
        try:
            with self._opener.open(request, timeout=self._timeout_seconds) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace")
            raise ApiError(error.code, f"{method} {path}: {_message(text)}") from None


def _message(text: str) -> str:
    """The message of a metav1.Status, or the text as it is."""
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip()
