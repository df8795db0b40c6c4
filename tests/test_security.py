"""Contexts: what is trusted, what is shown, and what faults need of it."""

import ssl
from pathlib import Path

import pytest
import trustme

from chaosproxy.certificates import CertificateTrouble
from chaosproxy.faults import FAULTS, Fault
from chaosproxy.faults.tls import BadCertificate, TlsStall
from chaosproxy.security import PLAIN, Security, developing, showing, trusting
from chaosproxy.wire.tls import Channel


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "chaosproxy"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    leaf = trustme.CA().issue_cert("localhost")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    leaf.cert_chain_pems[0].write_to_path(certificate)
    leaf.private_key_pem.write_to_path(key)
    return str(certificate), str(key)


def shakes_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str:
    """Why it failed; nothing where it did not."""
    ours, theirs = Channel(client, is_server=False, name=name), Channel(server, is_server=True)
    ours.begin()
    for _ in range(5):
        theirs.receive(ours.take())
        ours.receive(theirs.take())
    assert ours.is_open != bool(ours.error)
    return ours.error


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "proxy.test"])
def test_the_development_certificate_is_for_this_machine_and_the_listeners_host(name: str) -> None:
    security = developing("proxy.test")
    assert security.ca
    client = ssl.create_default_context(cafile=security.ca)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    assert shakes_hands(security.listen[""], client, name) == ""
    assert set(security.listen) == {"", "expired", "wrong_name", "unknown_ca"}


def test_a_wildcard_is_no_name() -> None:
    security = developing("0.0.0.0")
    client = ssl.create_default_context(cafile=security.ca)
    assert "for another address" in shakes_hands(security.listen[""], client, "0.0.0.0")


def test_a_given_certificate_is_shown_and_nothing_is_made(files: tuple[str, str], folder: Path) -> None:
    security = showing(*files)
    assert set(security.listen) == {""}
    assert security.ca is None
    assert not folder.exists()


def test_beside_a_given_certificate_bad_ones_are_made_if_wanted(files: tuple[str, str]) -> None:
    security = showing(*files, bad_for="localhost")
    client = ssl.create_default_context(cafile=security.ca)
    assert "has expired" in shakes_hands(security.listen["expired"], client, "localhost")
    assert "not known here" in shakes_hands(security.listen[""], client, "localhost")


def test_files_that_can_not_be_used_are_told(files: tuple[str, str], tmp_path: Path) -> None:
    certificate, key = files
    empty = tmp_path / "empty.pem"
    empty.touch()
    other = tmp_path / "other.pem"
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(other)
    for given, words in (
        (("/nowhere", key), "no such file or directory"),
        ((str(empty), key), "can't be used: "),
        ((certificate, str(other)), "key values mismatch"),
    ):
        with pytest.raises(CertificateTrouble, match=words):
            showing(*given)
    with pytest.raises(CertificateTrouble, match="--upstream-ca /nowhere can't be used: no such file or directory"):
        trusting("/nowhere")
    with pytest.raises(CertificateTrouble, match="it holds no certificate"):
        trusting(str(empty))


def test_an_encrypted_key_is_told_and_nobody_is_asked(files: tuple[str, str], tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    key = load_pem_private_key(Path(files[1]).read_bytes(), None)
    encrypted = tmp_path / "encrypted.pem"
    encryption = BestAvailableEncryption(b"secret")
    encrypted.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    with pytest.raises(CertificateTrouble, match="the key is encrypted; decrypt it first"):
        showing(files[0], str(encrypted))


def test_verification_is_on_unless_told_otherwise() -> None:
    assert (trusting(None).verify_mode, trusting(None).check_hostname) == (ssl.CERT_REQUIRED, True)
    insecure = trusting(None, is_insecure=True)
    assert (insecure.verify_mode, insecure.check_hostname) == (ssl.CERT_NONE, False)


def test_http_1_1_is_offered_to_a_server_that_could_do_better() -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.set_alpn_protocols(["h2", "http/1.1"])
    ca = trustme.CA()
    ca.issue_cert("localhost").configure_cert(server)
    inbound, outbound = ssl.MemoryBIO(), ssl.MemoryBIO()
    peer = server.wrap_bio(inbound, outbound, server_side=True)
    client = Channel(trusting(None), is_server=False, name="localhost")
    client.begin()
    inbound.write(client.take())
    with pytest.raises(ssl.SSLWantReadError):
        peer.do_handshake()
    assert peer.selected_alpn_protocol() == "http/1.1"


def test_faults_say_what_they_lack() -> None:
    bad = BadCertificate.model_validate({"kind": "expired"})
    with_given = Security({"": trusting(None)})
    assert PLAIN.lacks(bad).startswith("bad_certificate needs TLS with the clients: start with --tls dev, or --tls-")
    assert PLAIN.lacks(TlsStall()).startswith("tls_stall needs TLS with the clients")
    assert with_given.lacks(TlsStall()) == ""
    assert with_given.lacks(bad).endswith("start with --tls dev, or with a profile of bad_certificate")
    assert Security({"": trusting(None), "expired": trusting(None)}).lacks(bad) == ""


@pytest.mark.parametrize("fault", [fault for fault in FAULTS.values() if not fault.needs_tls], ids=str)
def test_other_faults_lack_nothing(fault: type[Fault]) -> None:
    assert PLAIN.lacks(fault.model_construct()) == ""
