"""The connection to the server: trusted certificates and proxies. Over sockets."""

import asyncio
import contextlib
import gc
import ipaddress
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.clocks import SleptClock

from jibe_sqs.adapters.access_anywhere import connect
from jibe_sqs.core.errors import AccessAnywhereUnavailable, SettingsError

# Certificates


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey, *, ca: bool
) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        [
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ],
        False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=ca, crl_sign=ca, **usage), critical=True)
    )
    if not ca:
        here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([here]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


class Authority:
    """A private CA. `ca_file`: its certificate. `context`: TLS settings of a server with a certificate of this CA."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        root = certificate("Our CA", root_key, "Our CA", root_key, ca=True)
        leaf = certificate("Access Anywhere", key, "Our CA", root_key, ca=False)
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(root.public_bytes(serialization.Encoding.PEM))
        server = folder / "server.pem"
        pem = serialization.Encoding.PEM
        server.write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            + leaf.public_bytes(pem)
        )
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(server)


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def another_authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "theirs")


# Servers

ANSWER = b'{"status":"ok","softwareversionlabel":"2401.05"}'
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)


async def head(reader: asyncio.StreamReader) -> str:
    return (await reader.readuntil(b"\r\n\r\n")).decode().lower()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Give every request the same answer, until the client closes the connection."""
    while True:
        asked = await head(reader)
        length = next(line for line in asked.splitlines() if line.startswith("content-length:"))
        await reader.readexactly(int(length.partition(":")[2]))
        writer.write(REPLY)
        await writer.drain()


@asynccontextmanager
async def listening(serve, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve on a free port, which is returned. Everything is closed at the end."""
    served: set[asyncio.Task[None]] = set()

    async def serving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.current_task())
        try:
            # A client may disconnect or be cancelled at any time, also without the end of TLS.
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
                await serve(reader, writer)
        finally:
            await closed(writer)

    # A client that has met a broken record does not answer the end of TLS. The default waits 30 seconds for that.
    limit = {"ssl_shutdown_timeout": 1.0} if context else {}
    server = await asyncio.start_server(serving, "127.0.0.1", 0, ssl=context, **limit)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        # A client that has met a broken record may keep its connection for some time.
        if served:
            _, pending = await asyncio.wait(served, timeout=5)
            for task in pending:
                task.cancel()


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()


class Proxy:
    """A proxy that connects to any requested host, and records the hosts."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.instead = 0
        """The port to which all connections go, for any requested host."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        verb, where, _ = (await head(reader)).split(maxsplit=2)
        self.asked.append(f"{verb} {where}")
        host, _, port = where.rpartition(":")
        onward, back = await asyncio.open_connection(host, self.instead or int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(copied(reader, back), copied(onward, writer))


async def copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    await closed(writer)


async def version(url: str, ca_file: Path | None) -> str:
    async with connect(endpoint=url, permanent_token="permanent", clock=SleptClock(), ca_file=ca_file) as client:
        return await client.version()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch) -> None:
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)


# Trust


async def test_a_server_with_a_certificate_of_the_ca_file_is_trusted(authority):
    async with listening(answer, authority.context) as port:
        assert await version(f"https://127.0.0.1:{port}", authority.ca_file) == "2401.05"


async def test_a_server_with_an_unknown_certificate_is_not_trusted(authority):
    async with listening(answer, authority.context) as port:
        with pytest.raises(AccessAnywhereUnavailable, match=r"CERTIFICATE_VERIFY_FAILED.*ca_file"):
            await version(f"https://127.0.0.1:{port}", None)


async def test_a_server_with_a_certificate_of_another_ca_is_not_trusted(authority, another_authority):
    async with listening(answer, authority.context) as port:
        with pytest.raises(AccessAnywhereUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await version(f"https://127.0.0.1:{port}", another_authority.ca_file)


async def test_a_server_whose_certificate_has_another_name_is_not_trusted(authority):
    async with listening(answer, authority.context) as port:
        with pytest.raises(AccessAnywhereUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await version(f"https://localhost:{port}", authority.ca_file)


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nx\n"])
async def test_an_unusable_ca_file_is_a_mistake_in_the_settings(tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"ca\.pem.*PEM"):
        await version("https://127.0.0.1:1", path)


async def test_certificates_that_the_environment_names_are_trusted(authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    async with listening(answer, authority.context) as port:
        assert await version(f"https://127.0.0.1:{port}", None) == "2401.05"


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
async def test_unusable_certificates_in_the_environment_are_a_mistake_that_names_the_variable(monkeypatch, variable):
    monkeypatch.setenv(variable, "/nowhere/ca.pem")
    with pytest.raises(SettingsError, match=rf"{variable}.*/nowhere/ca\.pem.*PEM"):
        await version("https://127.0.0.1:1", None)


# asyncio may not close the client's socket after such a record. It is closed when it is collected, here.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_malformed_tls_record_in_an_answer_is_a_broken_connection(authority, tmp_path):
    """A device on the network writes into the connection. httpcore and httpx do not translate the error of `ssl`."""

    async def answer_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(REPLY[:-10])
        await writer.drain()
        plain = writer.transport.get_extra_info("socket")
        os.write(plain.fileno(), b"no record of TLS" * 4)
        await reader.read()

    async with listening(answer_half, authority.context) as port:
        with pytest.raises(AccessAnywhereUnavailable, match="getApplianceInfo"):
            await version(f"https://127.0.0.1:{port}", authority.ca_file)
    gc.collect()


# Proxies


async def test_the_proxy_of_the_environment_is_used_and_the_servers_certificate_is_checked(authority, monkeypatch):
    proxy = Proxy()
    async with listening(answer, authority.context) as port, listening(proxy.serve) as proxy_port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy_port}")
        assert await version(f"https://127.0.0.1:{port}", authority.ca_file) == "2401.05"
        assert proxy.asked == [f"connect 127.0.0.1:{port}"]
        with pytest.raises(AccessAnywhereUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await version(f"https://127.0.0.1:{port}", None)


async def test_a_bad_certificate_behind_a_proxy_leaks_no_connection(authority, another_authority, monkeypatch):
    """Refused connections stayed in httpx's pool. After two dozen of them, all further calls hung."""
    proxy = Proxy()
    async with (
        listening(answer, authority.context) as port,
        listening(answer, another_authority.context) as bad_port,
        listening(proxy.serve) as proxy_port,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy_port}")
        url, known = f"https://127.0.0.1:{port}", {"clock": SleptClock(), "ca_file": authority.ca_file}
        async with (
            connect(endpoint=url, permanent_token="permanent", concurrency=1, **known) as client,
            asyncio.timeout(30),
        ):
            proxy.instead = bad_port
            while len(proxy.asked) < 40:
                with pytest.raises(AccessAnywhereUnavailable):
                    await client.version()
            proxy.instead = 0
            found = ""
            while not found:
                # The clock is faster than the sockets: a call may fail before the next probe is answered.
                with contextlib.suppress(AccessAnywhereUnavailable):
                    found = await client.version()
            assert found == "2401.05"


async def test_hosts_in_no_proxy_are_called_without_a_proxy(authority, monkeypatch):
    proxy = Proxy()
    async with listening(answer, authority.context) as port, listening(proxy.serve) as proxy_port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy_port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert await version(f"https://127.0.0.1:{port}", authority.ca_file) == "2401.05"
    assert proxy.asked == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTPS_PROXY", "socks5://jo:zq%2Fxv@127.0.0.1:1080"),
        ("HTTPS_PROXY", "ftp://jo:zq%2Fxv@127.0.0.1"),
        ("HTTPS_PROXY", "http://jo:zq/xv@127.0.0.1"),
        ("NO_PROXY", "127.0.0.1:zq"),
    ],
)
async def test_an_unusable_proxy_is_a_mistake_in_the_settings_and_is_not_quoted(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=r"HTTPS_PROXY.*NO_PROXY") as caught:
        await version("https://127.0.0.1:1", None)
    assert "zq" not in str(caught.value)
    assert "xv" not in str(caught.value)


# Connections


async def test_a_connection_is_kept_and_used_again():
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answer(reader, writer)

    async with listening(serve) as port:
        url = f"http://127.0.0.1:{port}"
        async with connect(endpoint=url, permanent_token="permanent", clock=SleptClock(), concurrency=4) as client:
            for _ in range(3):
                await asyncio.gather(*(client.version() for _ in range(20)))
    assert connections <= 6
