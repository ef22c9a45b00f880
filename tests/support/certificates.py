"""Certificates of a test's own authorities: for servers and clients, valid, expired, or for another host."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = dt.timedelta(days=1)
_CURVE = ec.SECP256R1()


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, both PEM.

    Args:
        certificate: The certificate alone.
        key: Its private key, unencrypted PKCS#8.
    """

    certificate: str
    key: str

    @property
    def keystore(self) -> str:
        """Both, in the order in which Kafka reads a PEM keystore."""
        return self.key + self.certificate

    def encrypted_key(self, password: str) -> str:
        """The key under a password."""
        key = serialization.load_pem_private_key(self.key.encode(), None)
        return key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password.encode()),
        ).decode()


class Authority:
    """A certificate authority that nobody else knows."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(_CURVE)
        self._name = _named(name)
        now = dt.datetime.now(dt.UTC)
        built = _builder(self._name, self._name, self._key.public_key(), now - _DAY, now + _DAY)
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.pem = _pem(built.sign(self._key, hashes.SHA256()))

    def server(self, *hosts: str, expired: bool = False) -> Certificate:
        """Give a server's certificate for these host names and addresses."""
        names: list[x509.GeneralName] = [_host(host) for host in hosts]
        alternatives = x509.SubjectAlternativeName(names)
        return self._issue(hosts[0], ExtendedKeyUsageOID.SERVER_AUTH, expired, alternatives)

    def client(self, name: str, *, expired: bool = False) -> Certificate:
        """Give a client's certificate, whose common name the broker takes as the user."""
        return self._issue(name, ExtendedKeyUsageOID.CLIENT_AUTH, expired)

    def _issue(
        self, name: str, usage: x509.ObjectIdentifier, expired: bool, *extensions: x509.ExtensionType
    ) -> Certificate:
        key = ec.generate_private_key(_CURVE)
        now = dt.datetime.now(dt.UTC)
        until = now - _DAY / 24 if expired else now + _DAY
        built = _builder(_named(name), self._name, key.public_key(), now - _DAY, until)
        for extension in (x509.ExtendedKeyUsage([usage]), *extensions):
            built = built.add_extension(extension, critical=False)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Certificate(_pem(built.sign(self._key, hashes.SHA256())), private.decode())


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    begin: dt.datetime,
    end: dt.datetime,
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=begin,
        not_valid_after=end,
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
