"""TLS certificates for AWS's host names, signed by the sandbox's own certificate authority.

Each server process creates a new authority. Its private key is never written to disk. Only programs that are given
the CA file trust these certificates.
"""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_FILE: Final = "ca.pem"
VALID: Final = timedelta(days=365)
SKEW: Final = timedelta(days=1)
"""Certificates are valid from one day ago, for clients whose clock is behind."""


class Certificates:
    """Creates a certificate for each host name on first use. Safe for threads."""

    def __init__(self, folder: Path) -> None:
        """Writes the authority's certificate to `ca.pem` in this folder."""
        self._folder = folder
        self._authority_key = ec.generate_private_key(ec.SECP256R1())
        self._authority = self._signed_authority()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = Lock()
        folder.joinpath(CA_FILE).write_bytes(self._authority.public_bytes(Encoding.PEM))

    def context(self, host: str) -> ssl.SSLContext:
        """The TLS settings for a server with this host name."""
        with self._lock:
            if host not in self._contexts:
                self._contexts[host] = self._new_context(host)
            return self._contexts[host]

    def _new_context(self, host: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(host, key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        # A client may close the connection without a TLS close notification. That is not an error.
        context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
        # Without session tickets, the first data that the server sends after the handshake is an answer. The proxy of
        # the chaos test relies on it.
        context.num_tickets = 0
        # The ssl module reads certificates only from files.
        with NamedTemporaryFile(dir=self._folder, suffix=".pem") as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.write(certificate.public_bytes(Encoding.PEM))
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def _signed_authority(self) -> x509.Certificate:
        public = self._authority_key.public_key()
        name = _name("jibe-sqs sandbox CA")
        return (
            _builder(name, name, public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._authority_key, SHA256())
        )

    def _signed(self, host: str, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        # A common name holds at most 64 characters. A bucket's host name may be longer.
        name = _name("jibe-sqs sandbox")
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._authority_key.public_key())
        return (
            _builder(name, self._authority.subject, key.public_key())
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(authority, critical=False)
            .sign(self._authority_key, SHA256())
        )


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + VALID)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
