"""Certificates in files -> TLS on both ends of a connection, used anew when the files change.

A server shows `{NAME}_TLS_CERTIFICATE_PATH` with `{NAME}_TLS_KEY_PATH`, and where
`{NAME}_TLS_CLIENT_CA_PATH` is given it lets only those in whom that authority has signed.
A client trusts `CLIENT_TLS_CA_PATH` alone, and shows `CLIENT_TLS_CERTIFICATE_PATH`.
"""

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from chassis.settings import SettingError, Variables
from chassis.watched import WatchedFiles

_LOOK_EVERY_S = 2.0
_FOR_ALL = 0o007  # read, write, use: by anybody on the machine
_WRITABLE_BY_GROUP = 0o020  # an orchestrator may need the group to read
# Forward secrecy and authenticated encryption only (RFC 9325, 4.2); TLS 1.3 has no others.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """The files of one end, each with the variable that names it."""

    own: tuple[tuple[str, Path], tuple[str, Path]] | None  # certificate chain, key
    ca: tuple[str, Path] | None
    key_must_be_private: bool

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them."""
        found = (*(self.own or ()), *((self.ca,) if self.ca else ()))
        return tuple(path for _name, path in found)


@dataclass(frozen=True, kw_only=True)
class Material:
    """What the files hold, found to fit together."""

    certificate: bytes | None
    key: bytes | None = field(repr=False)
    ca: bytes | None


def read_server_tls(*, variables: Variables, name: str, production: bool) -> TlsFiles | None:
    """Return the files of the server `name`, such as `GATEWAY`; None where it speaks plainly.

    :raises SettingError: half of a pair, a file that cannot be used, a key for everybody's eyes.
    """
    own = _pair(variables, f"{name}_TLS")
    ca = _named(variables, f"{name}_TLS_CLIENT_CA_PATH")
    if own is None:
        if ca is not None:
            raise SettingError(f"{name}_TLS_CERTIFICATE_PATH: is required beside {ca[0]}")
        return None
    return _checked(TlsFiles(own=own, ca=ca, key_must_be_private=production))


def read_client_tls(*, variables: Variables, production: bool) -> TlsFiles | None:
    """Return the files with which this process calls services; None where it speaks plainly.

    :raises SettingError: a certificate without its key or without an authority to trust.
    """
    own = _pair(variables, "CLIENT_TLS")
    ca = _named(variables, "CLIENT_TLS_CA_PATH")
    if ca is None:
        if own is not None:
            raise SettingError(f"CLIENT_TLS_CA_PATH: is required beside {own[0][0]}")
        return None
    return _checked(TlsFiles(own=own, ca=ca, key_must_be_private=production))


def server_name_of(*, variables: Variables, name: str) -> str:
    """Return whom the certificate of the service `name` must speak for, "" for its target."""
    return variables.text(f"CLIENT_TLS_{name}_SERVER_NAME", default="")


def read_material(*, files: TlsFiles, now: datetime) -> Material:
    """Return what `files` hold at the moment `now`.

    :raises SettingError: unreadable, no PEM, a key of another certificate, expired, or a key
        that others may read where it must be private.
    """
    certificate = key = ca = None
    if files.own is not None:
        (certificate_name, certificate_path), (key_name, key_path) = files.own
        certificate = _content(certificate_name, certificate_path)
        key = _content(key_name, key_path)
        first = _certificates(certificate_name, certificate_path, certificate)[0]
        _refuse_unfit(certificate_name, certificate_path, first, now)
        _refuse_wrong_key(key_name, key_path, key, first)
        if files.key_must_be_private and key_path.stat().st_mode & (_FOR_ALL | _WRITABLE_BY_GROUP):
            raise SettingError(f"{key_name}: {key_path}: others may use it; chmod 600 or 640 it")
    if files.ca is not None:
        ca_name, ca_path = files.ca
        ca = _content(ca_name, ca_path)
        _certificates(ca_name, ca_path, ca)
    return Material(certificate=certificate, key=key, ca=ca)


def watched_material(
    *, files: TlsFiles, clock: Callable[[], float] = time.monotonic
) -> WatchedFiles[Material]:
    """Return what `files` hold, read again when they change.

    :raises SettingError: they cannot be used now.
    """
    return WatchedFiles(
        name="/".join(_variables_of(files)),
        paths=files.paths,
        read=lambda: read_material(files=files, now=datetime.now(tz=UTC)),
        broken=SettingError,
        clock=clock,
        every_s=_LOOK_EVERY_S,
    )


def grpc_server_credentials(
    *, files: TlsFiles, clock: Callable[[], float] = time.monotonic
) -> grpc.ServerCredentials:
    """Return the credentials of a gRPC server; each handshake sees files changed since.

    :raises SettingError: the files cannot be used.
    """
    watched = watched_material(files=files, clock=clock)
    given = watched.value()

    def changed() -> Any:
        nonlocal given
        found = watched.value()
        if found is given:
            return None  # gRPC goes on with what it has
        given = found
        return _configuration(found)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(given), changed, require_client_authentication=files.ca is not None
    )


def https_context(
    *, files: TlsFiles, clock: Callable[[], float] = time.monotonic
) -> ssl.SSLContext:
    """Return the context of an HTTPS server; each connection sees files changed since.

    :raises SettingError: the files cannot be used.
    """
    return _RotatingContext.over(
        WatchedFiles(
            name="/".join(_variables_of(files)),
            paths=files.paths,
            read=lambda: _fixed_context(files),
            broken=SettingError,
            clock=clock,
            every_s=_LOOK_EVERY_S,
        )
    )


class _RotatingContext(ssl.SSLContext):
    """Hands each new connection to the context of the files as they are now.

    asyncio and uvloop take one context for the life of a listener and ask it to wrap each
    connection. A certificate could be replaced inside a context; an authority could not.
    """

    _watched: WatchedFiles[ssl.SSLContext]

    @classmethod
    def over(cls, watched: WatchedFiles[ssl.SSLContext]) -> "_RotatingContext":
        """Return a context that stands for what is watched."""
        made = cls(ssl.PROTOCOL_TLS_SERVER)
        made._watched = watched
        return made

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Return the TLS side of one new connection."""
        return self._watched.value().wrap_bio(*arguments, **options)


def _fixed_context(files: TlsFiles) -> ssl.SSLContext:
    read_material(files=files, now=datetime.now(tz=UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if files.own is None:
        raise SettingError("a server needs a certificate")
    (certificate_name, certificate), (_key_name, key) = files.own
    try:
        context.load_cert_chain(certificate, key, password="")  # or it would prompt
        if files.ca is not None:
            context.load_verify_locations(files.ca[1])
            context.verify_mode = ssl.CERT_REQUIRED
    except (ssl.SSLError, OSError) as problem:
        raise SettingError(f"{certificate_name}: cannot be used ({problem.errno})") from None
    return context


def _configuration(material: Material) -> Any:
    return grpc.ssl_server_certificate_configuration(
        [(material.key or b"", material.certificate or b"")], material.ca
    )


def _pair(variables: Variables, name: str) -> tuple[tuple[str, Path], tuple[str, Path]] | None:
    certificate = _named(variables, f"{name}_CERTIFICATE_PATH")
    key = _named(variables, f"{name}_KEY_PATH")
    if certificate is None and key is None:
        return None
    if certificate is None:
        raise SettingError(f"{name}_CERTIFICATE_PATH: is required beside {name}_KEY_PATH")
    if key is None:
        raise SettingError(f"{name}_KEY_PATH: is required beside {name}_CERTIFICATE_PATH")
    return certificate, key


def _named(variables: Variables, name: str) -> tuple[str, Path] | None:
    path = variables.path(name, default=Path())
    return None if path == Path() else (name, path)


def _variables_of(files: TlsFiles) -> list[str]:
    return [name for name, _path in (*(files.own or ()), *((files.ca,) if files.ca else ()))]


def _checked(files: TlsFiles) -> TlsFiles:
    read_material(files=files, now=datetime.now(tz=UTC))
    return files


def _content(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise SettingError(f"{name}: {path}: {problem.strerror}") from None


def _certificates(name: str, path: Path, content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise SettingError(f"{name}: {path}: holds no certificate in PEM") from None


def _refuse_unfit(name: str, path: Path, certificate: x509.Certificate, now: datetime) -> None:
    if certificate.not_valid_after_utc <= now:
        raise SettingError(f"{name}: {path}: has expired")
    if certificate.not_valid_before_utc > now:
        raise SettingError(f"{name}: {path}: is not valid yet")


def _refuse_wrong_key(name: str, path: Path, content: bytes, certificate: x509.Certificate) -> None:
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except TypeError:
        raise SettingError(f"{name}: {path}: is locked by a pass phrase") from None
    except ValueError:
        raise SettingError(f"{name}: {path}: holds no private key in PEM") from None
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise SettingError(f"{name}: {path}: is the key of another certificate")
