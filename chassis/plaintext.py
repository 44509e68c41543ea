"""Where plain text would leave this machine: not in production, or with a reason."""

from collections.abc import Iterable
from ipaddress import ip_address

from chassis.settings import SettingError, Variables


def refuse_plaintext(*, variables: Variables, places: Iterable[tuple[str, str]]) -> None:
    """Return if none of the (variable, address) pairs lets plain text leave this machine.

    `ALLOW_PLAINTEXT_GRPC` may give a reason, such as a mesh that encrypts.

    :raises SettingError: one does, and nobody says why.
    """
    if variables.text("ALLOW_PLAINTEXT_GRPC", default="").strip():
        return
    for name, address in places:
        if not is_loopback(target=address):
            raise SettingError(
                f"{name}: production speaks TLS beyond this machine;"
                " set the *_TLS_* files, or ALLOW_PLAINTEXT_GRPC to the reason why not"
            )


def is_loopback(*, target: str) -> bool:
    """Tell whether all addresses of a gRPC target, or of `host:port`, are this machine's own."""
    scheme, separator, rest = target.partition(":")
    if scheme in ("unix", "unix-abstract"):
        return True
    if separator and scheme in ("dns", "ipv4", "ipv6"):
        target = rest.rpartition("/")[2]  # dns://resolver/name
    return all(_is_loopback_host(_host_of(one.strip())) for one in target.split(","))


def _host_of(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address if address.count(":") > 1 else address.partition(":")[0]


def _is_loopback_host(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
