"""Authorities and certificates of a test, made as it runs."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate and its key in files."""

    chain: Path
    key: Path


@dataclass(kw_only=True)
class Authority:
    """One authority, its certificates under `folder`."""

    folder: Path
    ca: trustme.CA = field(default_factory=trustme.CA)

    @property
    def file(self) -> Path:
        """Its own certificate, for those who trust it."""
        path = self.folder / "ca.pem"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca.cert_pem.write_to_path(str(path))
        return path

    def issue(
        self, *names: str, file: str = "own", expired: bool = False, early: bool = False
    ) -> Certificate:
        """Write a certificate for `names` (over the files of that name) and return where it is."""
        now = datetime.now(tz=UTC)
        made = self.ca.issue_cert(
            *names,
            not_before=now + timedelta(days=1) if early else now - timedelta(days=2),
            not_after=now - timedelta(days=1) if expired else now + timedelta(days=9),
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        chain, key = self.folder / f"{file}.pem", self.folder / f"{file}.key"
        chain.write_bytes(b"".join(one.bytes() for one in made.cert_chain_pems))
        key.write_bytes(made.private_key_pem.bytes())
        key.chmod(0o600)
        return Certificate(chain=chain, key=key)


def variables_of(name: str, certificate: Certificate) -> dict[str, str]:
    """Return the two variables that show `certificate`, such as GATEWAY_TLS_KEY_PATH."""
    return {
        f"{name}_TLS_CERTIFICATE_PATH": str(certificate.chain),
        f"{name}_TLS_KEY_PATH": str(certificate.key),
    }
