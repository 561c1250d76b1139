"""Certificates and tokens, made anew at each start with openssl.

Only servers, the kubelet's client and the aggregation layer have certificates. Every other client has a bearer token
in the API server's token file, which needs no further certificate and makes a kubeconfig of a few lines.
"""

import base64
import json
import secrets
from collections.abc import Sequence
from pathlib import Path

from fluxpool_cluster import layout, shell
from fluxpool_cluster.layout import Layout

ADMIN = "admin"
# User and groups of each client.
_USERS = {
    ADMIN: ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
    "kubelet": (f"system:node:{layout.NODE}", "system:nodes"),
    "kwok": ("kwok", "system:masters"),
    "coredns": ("coredns", "system:masters"),
}
_API_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
_DAYS = "3650"


def create(where: Layout, host_port: int) -> None:
    """Write all certificates, keys, tokens and kubeconfigs below the state folder."""
    for folder in (where.pki, where.config):
        folder.mkdir(parents=True)
    _create_certificates(where.pki)
    tokens = {client: secrets.token_hex(16) for client in _USERS}
    rows = [_token_row(tokens[client], client, user, group) for client, (user, group) in _USERS.items()]
    (where.pki / "tokens.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    authority = (where.pki / "ca.crt").read_bytes()
    inside = f"https://127.0.0.1:{layout.API_PORT}"
    for client, token in tokens.items():
        _write_private(client_kubeconfig(where, client), kubeconfig(inside, authority, token))
    _write_private(where.inside_kubeconfig, kubeconfig(inside, authority, tokens[ADMIN]))
    _write_private(where.kubeconfig, kubeconfig(f"https://127.0.0.1:{host_port}", authority, tokens[ADMIN]))


def client_kubeconfig(where: Layout, client: str) -> Path:
    """The kubeconfig of one of the cluster's own clients, inside the namespace."""
    return where.config / f"{client}.kubeconfig"


def kubeconfig(server: str, authority: bytes, token: str) -> str:
    """A kubeconfig that needs no other file; JSON, which is YAML too."""
    name = layout.CONTEXT
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(authority).decode()}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        },
        indent=2,
    )


def _token_row(token: str, client: str, user: str, group: str) -> str:
    return f'{token},{user},{client},"{group}"' if group else f"{token},{user},{client}"


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def _create_certificates(pki: Path) -> None:
    _authority(pki, "ca")
    _authority(pki, "front-proxy-ca")
    addresses = ("127.0.0.1", layout.API_SERVICE_ADDRESS, layout.NODE_ADDRESS)
    names = [*(f"DNS:{name}" for name in _API_NAMES), *(f"IP:{address}" for address in addresses)]
    _certificate(pki, "apiserver", "/CN=kube-apiserver", "serverAuth", names=names)
    _certificate(pki, "kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client", "clientAuth")
    node = [f"DNS:{layout.NODE}", f"IP:{layout.NODE_ADDRESS}"]
    _certificate(pki, "kubelet", f"/O=system:nodes/CN=system:node:{layout.NODE}", "serverAuth", names=node)
    _certificate(pki, "front-proxy", "/CN=front-proxy-client", "clientAuth", authority="front-proxy-ca")
    _key(pki, "service-account")
    shell.run("openssl", "pkey", "-in", pki / "service-account.key", "-pubout", "-out", pki / "service-account.pub")


def _key(pki: Path, name: str) -> None:
    shell.run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", pki / f"{name}.key")


def _authority(pki: Path, name: str) -> None:
    _key(pki, name)
    subject = ("-subj", f"/CN={name}", "-days", _DAYS, "-addext", "keyUsage=critical,keyCertSign,digitalSignature")
    shell.run("openssl", "req", "-x509", "-new", "-key", pki / f"{name}.key", *subject, "-out", pki / f"{name}.crt")


def _certificate(
    pki: Path, name: str, subject: str, usage: str, *, authority: str = "ca", names: Sequence[str] = ()
) -> None:
    _key(pki, name)
    extensions, request = pki / f"{name}.ext", pki / f"{name}.csr"
    alternative = f"subjectAltName={','.join(names)}\n" if names else ""
    extensions.write_text(f"extendedKeyUsage={usage}\n{alternative}", encoding="utf-8")
    shell.run("openssl", "req", "-new", "-key", pki / f"{name}.key", "-subj", subject, "-out", request)
    signer = ("-CA", pki / f"{authority}.crt", "-CAkey", pki / f"{authority}.key", "-CAcreateserial", "-days", _DAYS)
    output = ("-extfile", extensions, "-out", pki / f"{name}.crt")
    shell.run("openssl", "x509", "-req", "-in", request, *signer, *output)
