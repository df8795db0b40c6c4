"""Certificates of our own: a development CA, made on first use and kept, and leaves under it, made anew at each start.

Needs `cryptography` (the extra `tls`), which is imported only where a certificate is made or read.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, ExtensionType, GeneralName

EXTRA = "pip install 'chaosproxy[tls]'"
CA_LIFE = timedelta(days=730)
CA_REMADE_BEFORE_ITS_END = timedelta(days=60)
LEAF_LIFE = timedelta(days=397)  # what browsers accept at most
CA_FILE, CA_KEY_FILE = "development-ca.pem", "development-ca-key.pem"
_SKEW = timedelta(hours=1)  # of the clocks of those who verify


class CertificateTrouble(Exception):
    """Certificates can't be had, with words for the user."""


class Authority(NamedTuple):
    """A CA with its key, and where its certificate is kept."""

    certificate: "Certificate"
    key: "EllipticCurvePrivateKey"
    path: Path


# --- The development CA ----------------------------------------------------------------------------------------------


def has_extra() -> bool:
    """Whether certificates can be made at all."""
    try:
        import cryptography  # noqa: F401
    except ImportError:
        return False
    return True


def development_authority() -> Authority:
    """The user's development CA; made where there is none, or where it is near its end."""
    if not has_extra():
        raise CertificateTrouble(f"certificates can only be made with the extra tls: {EXTRA}")
    folder = _data_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder):
            authority = _read_authority(folder)
            if authority and authority.certificate.not_valid_after_utc > datetime.now(UTC) + CA_REMADE_BEFORE_ITS_END:
                return authority
            return _make_authority(folder)
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise CertificateTrouble(
            f"the development CA can't be kept in {folder}: {reason}; "
            "let XDG_DATA_HOME name another folder (in a container, one on a volume)"
        ) from None


def _data_folder() -> Path:
    """The user's folder for what we keep (XDG Base Directory Specification: a relative path is ignored)."""
    named = os.environ.get("XDG_DATA_HOME", "")
    base = named if os.path.isabs(named) else os.path.expanduser("~/.local/share")
    if not os.path.isabs(base):
        raise CertificateTrouble("no home folder is known to keep a development CA in; let XDG_DATA_HOME name a folder")
    return Path(base) / "chaosproxy"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let no other process make a CA meanwhile: the key of one and the certificate of another would be left."""
    file = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _read_authority(folder: Path) -> Authority | None:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    remedy = f"remove {folder}, and it is made anew"
    try:
        certificate = x509.load_pem_x509_certificate((folder / CA_FILE).read_bytes())
        key = load_pem_private_key((folder / CA_KEY_FILE).read_bytes(), None)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise CertificateTrouble(f"the development CA in {folder} is damaged; {remedy}") from None
    if not isinstance(key, EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise CertificateTrouble(f"the key of the development CA in {folder} is not its own; {remedy}")
    (folder / CA_KEY_FILE).chmod(0o600)
    return Authority(certificate, key, folder / CA_FILE)


def _make_authority(folder: Path) -> Authority:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    key = _new_key()
    now = datetime.now(UTC)
    extensions = [x509.BasicConstraints(ca=True, path_length=0), _usage(key_cert_sign=True, crl_sign=True)]
    certificate = _sign(f"chaosproxy development CA {now:%Y-%m-%d}", key, None, now - _SKEW, now + CA_LIFE, extensions)
    _write(folder / CA_KEY_FILE, _pem(key), 0o600)
    _write(folder / CA_FILE, certificate.public_bytes(Encoding.PEM), 0o644)
    return Authority(certificate, key, folder / CA_FILE)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a file that is there as a whole or not at all, and at no time open to others than `mode` says."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
        file.write(data)
    new.replace(path)


# --- Leaves ----------------------------------------------------------------------------------------------------------


def make_leaf(authority: Authority | None, names: Sequence[str], ended_ago: timedelta | None = None) -> bytes:
    """A key and a server's certificate for these names, as PEM; signed by itself where there is no authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import ExtendedKeyUsageOID

    now = datetime.now(UTC)
    if ended_ago is not None:
        begins, ends = now - ended_ago - LEAF_LIFE, now - ended_ago
    else:
        begins, ends = now - _SKEW, now + LEAF_LIFE
    if authority:
        ends = min(ends, authority.certificate.not_valid_after_utc)
    extensions = [
        x509.BasicConstraints(ca=False, path_length=None),
        _usage(digital_signature=True),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
        x509.SubjectAlternativeName([_general_name(name) for name in names]),
    ]
    key = _new_key()
    certificate = _sign(names[0], key, authority, begins, ends, extensions)
    return _pem(key) + certificate.public_bytes(Encoding.PEM)


def _general_name(name: str) -> "GeneralName":
    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode())


# --- X.509 -----------------------------------------------------------------------------------------------------------


def _sign(
    name: str,
    key: "EllipticCurvePrivateKey",
    authority: Authority | None,
    begins: datetime,
    ends: datetime,
    extensions: "Sequence[ExtensionType]",
) -> "Certificate":
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509.oid import NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    signing_key = authority.key if authority else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    extensions = [
        *extensions,
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()),
    ]
    for extension in extensions:  # RFC 5280 wants these two to be critical
        is_critical = isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
        builder = builder.add_extension(extension, critical=is_critical)
    return builder.sign(signing_key, SHA256())


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> "ExtensionType":
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _new_key() -> "EllipticCurvePrivateKey":
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _pem(key: "EllipticCurvePrivateKey") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
