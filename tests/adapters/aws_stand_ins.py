"""Stand-ins on loopback for sources of AWS credentials, and for services that check them.

Each answers in the wire format of the real one: IMDSv2, the ECS agent, the EKS Pod Identity agent, STS; S3 (XML), SQS,
DynamoDB and CloudTrail (JSON).
"""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.Response]]

PAST_TIME = "2026-01-01T00:00:00Z"


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    """Serve on a free port, and yield the address."""

    async def answer(request: web.Request) -> web.Response:
        return await handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Issuer:
    """Issues credentials. They are valid until they are revoked. `lasting`: seconds until they expire."""

    def __init__(self) -> None:
        self.lasting = 3600.0
        self.tokens: dict[str, str] = {}
        """Session token by access key."""
        self.fail = False
        self.answers = 0
        self.refusals = 0

    def issue(self) -> tuple[str, str, str, str]:
        """Access key, secret, token, expiry."""
        self.answers += 1
        key = f"ASIA{self.answers:016}"
        self.tokens[key] = f"token-of-{key}"
        expiry = (datetime.now(UTC) + timedelta(seconds=self.lasting)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return key, f"secret-of-{key}", self.tokens[key], expiry

    def revoke(self) -> None:
        """Revoke all credentials that were issued until now."""
        self.tokens.clear()

    def refuse(self, status: int, text: str, content_type: str = "text/plain") -> web.Response:
        """An answer without credentials."""
        self.refusals += 1
        return web.Response(status=status, text=text, content_type=content_type)


class Imds(Issuer):
    """EC2's instance metadata service, version 2 only."""

    ROLE = "the-instance-role"
    FOLDER = "/latest/meta-data/iam/security-credentials/"

    def __init__(self) -> None:
        super().__init__()
        self.sessions: set[str] = set()

    async def __call__(self, request: web.Request) -> web.Response:
        if self.fail:
            return self.refuse(500, "Internal Server Error")
        if request.path == "/latest/api/token":
            seconds = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
            if request.method != "PUT" or not seconds.isdigit():
                return self.refuse(400, "Bad Request")
            self.sessions.add(token := f"session-{len(self.sessions)}")
            return web.Response(text=token, headers={"x-aws-ec2-metadata-token-ttl-seconds": seconds})
        if request.headers.get("x-aws-ec2-metadata-token") not in self.sessions:
            return self.refuse(401, "Unauthorized")
        if request.path == self.FOLDER:
            return web.Response(text=self.ROLE)
        if request.path != self.FOLDER + self.ROLE:
            return self.refuse(404, "Not Found")
        key, secret, token, expiry = self.issue()
        return web.json_response(
            {
                "Code": "Success",
                "LastUpdated": PAST_TIME,
                "Type": "AWS-HMAC",
                "AccessKeyId": key,
                "SecretAccessKey": secret,
                "Token": token,
                "Expiration": expiry,
            }
        )


class Ecs(Issuer):
    """The ECS agent's endpoint for a task's credentials."""

    PATH = "/v2/credentials/2b0a5ab1-5f9f-4d0e-9a53-6d0a6a0b6a01"

    async def __call__(self, request: web.Request) -> web.Response:
        if request.path != self.PATH or request.method != "GET":
            body = {"code": "InvalidIdInRequest", "message": "CredentialsV2Request: ID not found", "HTTPErrorCode": 400}
            return self.refuse(400, json.dumps(body), "application/json")
        key, secret, token, expiry = self.issue()
        return web.json_response(
            {
                "RoleArn": "arn:aws:iam::123456789012:role/the-task-role",
                "AccessKeyId": key,
                "SecretAccessKey": secret,
                "Token": token,
                "Expiration": expiry,
            }
        )


class PodIdentity(Issuer):
    """The EKS Pod Identity agent. It requires the pod's service account token."""

    PATH = "/v1/credentials"

    def __init__(self) -> None:
        super().__init__()
        self.accepted = "token-1"

    async def __call__(self, request: web.Request) -> web.Response:
        if request.path != self.PATH:
            return self.refuse(404, "404 page not found")
        if request.headers.get("Authorization") != self.accepted:
            return self.refuse(400, "[ExpiredTokenException]: Token provided in Authorization header has expired")
        key, secret, token, expiry = self.issue()
        return web.json_response(
            {
                "AccessKeyId": key,
                "SecretAccessKey": secret,
                "Token": token,
                "AccountId": "123456789012",
                "Expiration": expiry,
            }
        )


class Sts(Issuer):
    """Issues the credentials of roles, for a web identity token or a signed request."""

    def __init__(self) -> None:
        super().__init__()
        self.accepted = "token-1"
        self.sources: dict[str, str] = {}
        """Session tokens by access key, of the credentials that may assume a role."""
        self.calls: list[dict[str, str]] = []

    async def __call__(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.calls.append(form)
        action = form["Action"]
        if action == "AssumeRoleWithWebIdentity":
            if "Authorization" in request.headers:
                return self._error(400, "ValidationError", "must not be signed")
            if form["WebIdentityToken"] != self.accepted:
                return self._error(400, "ExpiredTokenException", "Token expired: current date/time must be before …")
        elif (signed := signed_with(request)) not in self.sources.items():
            code = "ExpiredToken" if signed[1] else "InvalidClientTokenId"
            return self._error(403, code, "The security token included in the request is not valid")
        key, secret, token, expiry = self.issue()
        body = (
            f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>'
            f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}"
            f"</SessionToken><Expiration>{expiry}</Expiration></Credentials><AssumedRoleUser><Arn>arn:aws:sts::"
            f"123456789012:assumed-role/r/s</Arn><AssumedRoleId>AROA:s</AssumedRoleId></AssumedRoleUser>"
            f"</{action}Result></{action}Response>"
        )
        return web.Response(text=body, content_type="text/xml")

    def _error(self, status: int, code: str, message: str) -> web.Response:
        body = (
            '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
            f"<Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
        )
        return self.refuse(status, body, "text/xml")


class Services:
    """S3, SQS, DynamoDB and CloudTrail at one address. They accept the credentials in `tokens`, and refuse others."""

    BUCKET, KEY, BODY = "the-logs", "AWSLogs/file.json", b"a log file"

    def __init__(self, tokens: dict[str, str]) -> None:
        self.tokens = tokens
        """Session token by access key; empty for a long-term key."""
        self.refusal: str | None = None
        """If set, all requests are refused with this code."""
        self.keys: list[str] = []
        """The access key of each request."""
        self.refused = 0

    async def __call__(self, request: web.Request) -> web.Response:
        key, token = signed_with(request)
        self.keys.append(key)
        known = self.tokens.get(key) == token
        s3 = "X-Amz-Target" not in request.headers
        if self.refusal is not None or not known:
            self.refused += 1
            return _s3_refusal(self.refusal, token) if s3 else _json_refusal(request, self.refusal, token)
        if s3:
            return self._s3(request)
        return web.json_response({"PublicKeyList": []} if "CloudTrail" in request.headers["X-Amz-Target"] else {})

    def _s3(self, request: web.Request) -> web.Response:
        if request.method == "HEAD":
            return web.Response(headers={"x-amz-bucket-region": "us-east-1"})
        if "list-type" in request.query:
            body = (
                f"<ListBucketResult><Name>{self.BUCKET}</Name><KeyCount>1</KeyCount><Contents><Key>{self.KEY}</Key>"
                "</Contents></ListBucketResult>"
            )
            return web.Response(text=body, content_type="application/xml")
        return web.Response(body=self.BODY, headers={"ETag": '"0"'})


class RecitingSqs:
    """SQS that gives one answer to every request, and records the requests. `calls`: their bodies."""

    def __init__(
        self,
        answer: object = None,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> None:
        """`answer`: the JSON of the answer, if `body` is not given."""
        self.status = status
        self.headers = {"Content-Type": "application/x-amz-json-1.0", **(headers or {})}
        self.body = json.dumps({} if answer is None else answer).encode() if body is None else body
        self.calls: list[dict[str, object]] = []
        self.operations: list[str] = []

    @classmethod
    def refusing(cls, code: str, message: str = "the service's message") -> "RecitingSqs":
        """SQS that refuses with this code, as it does for a client that knew its query protocol."""
        answer = {"__type": f"com.amazonaws.sqs#{code}", "message": message}
        return cls(answer, status=400, headers={"x-amzn-query-error": f"{code};Sender"})

    async def __call__(self, request: web.Request) -> web.Response:
        self.calls.append(await request.json())
        self.operations.append(request.headers["X-Amz-Target"])
        return web.Response(status=self.status, headers=self.headers, body=self.body)


def signed_with(request: web.Request) -> tuple[str, str]:
    """Access key and session token of a request."""
    key = re.search(r"Credential=([^/]+)/", request.headers.get("Authorization", ""))
    return (key[1] if key else "", request.headers.get("X-Amz-Security-Token", ""))


def _s3_refusal(code: str | None, token: str) -> web.Response:
    code = code or ("ExpiredToken" if token else "InvalidAccessKeyId")
    body = f"<Error><Code>{code}</Code><Message>The credentials are not valid</Message><RequestId>1</RequestId></Error>"
    return web.Response(status=400 if "Token" in code else 403, text=body, content_type="application/xml")


def _json_refusal(request: web.Request, code: str | None, token: str) -> web.Response:
    code = code or ("ExpiredTokenException" if token else "UnrecognizedClientException")
    body = json.dumps({"__type": f"com.amazon.coral.service#{code}", "message": "The credentials are not valid"})
    sqs = "AmazonSQS" in request.headers["X-Amz-Target"]
    return web.Response(status=403 if sqs else 400, text=body, content_type="application/x-amz-json-1.0")
