"""The development CA and what it signs, on disk and as OpenSSL reads it."""

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from chaosproxy import certificates
from chaosproxy.certificates import CertificateTrouble, development_authority, make_leaf


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "chaosproxy"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_made_on_first_use_and_kept(folder: Path) -> None:
    first = development_authority()
    assert first.path == folder / "development-ca.pem"
    assert development_authority().certificate == first.certificate


def test_its_key_is_readable_for_its_owner_only_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0)
    try:
        development_authority()
    finally:
        os.umask(before)
    assert mode(folder) == 0o700
    assert mode(folder / "development-ca-key.pem") == 0o600
    (folder / "development-ca-key.pem").chmod(0o644)
    development_authority()
    assert mode(folder / "development-ca-key.pem") == 0o600


def test_the_certificate_holds_no_key(folder: Path) -> None:
    development_authority()
    assert b"PRIVATE" not in (folder / "development-ca.pem").read_bytes()


def test_near_its_end_it_is_made_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "CA_LIFE", timedelta(days=59))
    old = development_authority()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_DATA_HOME", str(folder.parent))
    new = development_authority()
    assert new.certificate != old.certificate
    assert development_authority().certificate == new.certificate


def test_without_xdg_it_is_kept_below_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_DATA_HOME", ignored)
        assert development_authority().path.parent == tmp_path / ".local" / "share" / "chaosproxy"


def test_without_a_home_folder_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(CertificateTrouble, match="no home folder is known"):
        development_authority()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damaged", ["development-ca.pem", "development-ca-key.pem"])
def test_damage_is_told_with_its_remedy(folder: Path, damaged: str) -> None:
    development_authority()
    (folder / damaged).write_bytes(b"-----BEGIN NOTHING-----\n")
    with pytest.raises(CertificateTrouble, match=r"is damaged; remove .*chaosproxy, and it is made anew"):
        development_authority()


def test_a_key_of_another_is_told(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    development_authority()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "other"))
    other = development_authority().path.with_name("development-ca-key.pem")
    monkeypatch.setenv("XDG_DATA_HOME", str(folder.parent))
    (folder / "development-ca-key.pem").write_bytes(other.read_bytes())
    with pytest.raises(CertificateTrouble, match="is not its own"):
        development_authority()


def test_a_folder_that_can_not_be_had_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    with pytest.raises(CertificateTrouble, match="let XDG_DATA_HOME name another folder"):
        development_authority()


def test_a_leaf_is_for_its_names_and_has_its_own_key() -> None:
    authority = development_authority()
    pem = make_leaf(authority, ["localhost", "127.0.0.1", "::1", "bücher.example"])
    leaf = x509.load_pem_x509_certificate(pem)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "xn--bcher-kva.example"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    key = load_pem_private_key(pem, None)
    assert key.public_key() == leaf.public_key() != authority.certificate.public_key()
    leaf.verify_directly_issued_by(authority.certificate)
    assert leaf.not_valid_before_utc < datetime.now(UTC) < leaf.not_valid_after_utc
    assert leaf.not_valid_after_utc <= authority.certificate.not_valid_after_utc


def test_a_leaf_may_have_ended_or_be_signed_by_itself() -> None:
    ended = x509.load_pem_x509_certificate(make_leaf(development_authority(), ["a"], timedelta(days=1)))
    assert timedelta(days=1) <= datetime.now(UTC) - ended.not_valid_after_utc < timedelta(days=2)
    alone = x509.load_pem_x509_certificate(make_leaf(None, ["a"]))
    alone.verify_directly_issued_by(alone)
