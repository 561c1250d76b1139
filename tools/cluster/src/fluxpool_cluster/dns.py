"""The cluster's DNS: CoreDNS on an address of the namespace's loopback device.

There is no kube-dns Service: kube-proxy leaves an address alone that no Service has.
"""

import socket
import struct
from pathlib import Path

from fluxpool_cluster import credentials, layout
from fluxpool_cluster.layout import Layout

COREDNS = "coredns"
_API_NAME = "kubernetes.default.svc.cluster.local"


def configure(where: Layout) -> None:
    """Write its configuration."""
    (where.config / "Corefile").write_text(corefile(where), encoding="utf-8")


def command(where: Layout, binaries: Path) -> tuple[str, ...]:
    """Command line of CoreDNS."""
    return (str(binaries / COREDNS), "-conf", f"{where.config}/Corefile")


def corefile(where: Layout) -> str:
    """Corefile: cluster names, and NXDOMAIN at once for all others.

    In two server blocks, since in one of them `template` would answer before `kubernetes` is asked.
    """
    return f"""cluster.local:53 in-addr.arpa:53 {{
  bind {layout.DNS_ADDRESS}
  errors
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {credentials.client_kubeconfig(where, "coredns")}
  }}
}}
.:53 {{
  bind {layout.DNS_ADDRESS}
  template ANY ANY {{
    rcode NXDOMAIN
  }}
}}
"""


def answers() -> bool:
    """Whether it knows the API server's name yet, asked inside the namespace; raises OSError while it is not there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.connect((layout.DNS_ADDRESS, 53))
        client.send(query(_API_NAME))
        return has_answer(client.recv(512))


def query(name: str) -> bytes:
    """A DNS question for the IPv4 addresses of a name (RFC 1035, section 4)."""
    header = struct.pack("!6H", 1, 0x0100, 1, 0, 0, 0)  # recursion desired, one question
    labels = b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split("."))
    return header + labels + b"\0" + struct.pack("!2H", 1, 1)


def has_answer(reply: bytes) -> bool:
    """Whether a DNS reply is free of error and holds an answer."""
    flags, answer_count = int.from_bytes(reply[2:4]), int.from_bytes(reply[6:8])
    return flags & 0xF == 0 and answer_count > 0
