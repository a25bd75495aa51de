"""Lookup and renewal of credentials, with stand-ins on loopback for the services and for the sources of credentials."""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest
from aiobotocore.credentials import AioCredentials, AioDeferredRefreshableCredentials
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError, NoCredentialsError
from botocore.utils import ContainerMetadataFetcher
from tests.adapters.aws_stand_ins import Ecs, Imds, PodIdentity, Services, Sts, served

from jibe_sqs.adapters import credentials as module
from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.credentials import DOUBTFUL, PAUSE, REFUSED, RenewableCredentials
from jibe_sqs.adapters.digests import S3Digests, cloudtrail_keys
from jibe_sqs.adapters.ledgers.table import Table
from jibe_sqs.adapters.s3 import Regions, Source
from jibe_sqs.adapters.s3_listing import S3Listing
from jibe_sqs.adapters.sqs import SqsQueue
from jibe_sqs.core.errors import (
    JibeError,
    KeysUnavailable,
    LedgerError,
    LogAccessDenied,
    QueueError,
    QueueUnavailable,
    SettingsError,
)

REGION = "eu-west-1"
ROLE = "arn:aws:iam::123456789012:role/reads-logs"
POD_ROLE = "arn:aws:iam::123456789012:role/the-pod"
OLD, NEW = "AKIAOLD", "AKIANEW"


@pytest.fixture
def services():
    return Services({NEW: ""})


@pytest.fixture
async def endpoint(services):
    async with served(services) as address:
        yield address


@pytest.fixture
def account(endpoint):
    return Account(endpoint=endpoint, region=REGION)


@pytest.fixture
async def aws():
    async with Aws() as aws:
        yield aws


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch):
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)


async def receive(aws, account):
    queue = SqsQueue(f"{account.endpoint}/123456789012/q", region=REGION, account=account, aws=aws)
    await queue.receive(1, wait=0, visibility=30)


async def head(aws, account):
    await (await aws.client("s3", REGION, account)).head_bucket(Bucket=Services.BUCKET)


async def list_bucket(aws, account):
    source = Source(account, region=REGION)
    assert await S3Listing(aws=aws, source=source, regions=Regions(aws, S3Clock())).has(Services.BUCKET, "")


async def list_digests(aws, account):
    digests = S3Digests(aws=aws, account=account, region=REGION)
    assert await digests.keys(Services.BUCKET, "") == [Services.KEY]


async def get(aws, account):
    found = await (await aws.client("s3", REGION, account)).get_object(Bucket=Services.BUCKET, Key=Services.KEY)
    assert await found["Body"].read() == Services.BODY


async def get_signed_by_hand(aws, account):
    """Like code that signs its requests itself."""
    credentials = await aws.session(account).get_credentials()
    for _ in range(2):
        frozen = await credentials.get_frozen_credentials()
        request = AWSRequest("GET", f"{account.endpoint}/{Services.BUCKET}/{Services.KEY}")
        S3SigV4Auth(frozen, "s3", REGION).add_auth(request)
        async with aiohttp.ClientSession() as http, http.get(request.url, headers=dict(request.headers)) as answer:
            text = await answer.text()
        if answer.status == 200:
            return
        code = text.partition("<Code>")[2].partition("<")[0]
        if not await credentials.renew(frozen, code):
            break
    raise ClientError({"Error": {"Code": code}}, "GetObject")


async def ask_table(aws, account):
    await Table("the-table", region=REGION, account=account, aws=aws).ask()


async def list_keys(aws, account):
    await cloudtrail_keys(aws=aws, account=account)(REGION, datetime.now(UTC), datetime.now(UTC))


CALLS = [receive, head, list_bucket, list_digests, get, get_signed_by_hand, ask_table, list_keys]
every_call = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
REFUSALS = (JibeError, ClientError)


# The credentials file


@pytest.fixture
def credentials_file(tmp_path, monkeypatch):
    """Writes the shared credentials file."""
    path = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))

    def write(key, token="", profile="default"):
        session = f"aws_session_token = {token}\n" if token else ""
        path.write_text(f"[{profile}]\naws_access_key_id = {key}\naws_secret_access_key = secret-of-{key}\n{session}")
        return path

    write(OLD)
    return write


@every_call
async def test_a_rotated_credentials_file_is_read_again_when_the_old_key_is_refused(
    aws, account, services, credentials_file, call
):
    """aws-otel-collector #408; aws-sdk-go-v2 #2135."""
    services.tokens = {OLD: ""}
    await call(aws, account)
    credentials_file(NEW)
    services.keys.clear()
    await call(aws, account)
    assert OLD in services.keys  # the old key is used as long as it is accepted
    services.tokens = {NEW: ""}
    services.keys.clear()
    await call(aws, account)
    await call(aws, account)
    assert services.keys.count(OLD) == services.refused == 1
    assert set(services.keys) == {OLD, NEW}


@every_call
async def test_temporary_credentials_in_the_file_are_read_again_when_they_have_expired(
    aws, account, services, credentials_file, call
):
    """The SSM agent writes such credentials every half hour: aws-otel-collector #3162."""
    services.tokens = {OLD: "session-1"}
    credentials_file(OLD, "session-1")
    await call(aws, account)
    services.tokens = {OLD: "session-2"}
    credentials_file(OLD, "session-2")
    await call(aws, account)
    assert services.refused == 1


@every_call
async def test_without_a_rotated_file_the_error_is_raised_at_once(aws, account, services, credentials_file, call):
    with pytest.raises(REFUSALS):
        await call(aws, account)
    # The first request asks for the bucket's region; its answer is not needed.
    assert services.keys.count(OLD) == (2 if call is list_bucket else 1)


async def test_many_refused_requests_read_the_file_once(aws, account, services, credentials_file, monkeypatch):
    await_all = [receive(aws, account) for _ in range(20)]
    services.tokens = {OLD: ""}
    await receive(aws, account)
    credentials_file(NEW)
    services.tokens = {NEW: ""}
    services.keys.clear()
    reads = []
    found = module.RenewableCredentials._resolved
    monkeypatch.setattr(module.RenewableCredentials, "_resolved", lambda self: reads.append(1) or found(self))
    await asyncio.gather(*await_all)
    assert services.keys.count(NEW) == 20
    assert len(reads) == 1


async def test_a_profiles_credentials_are_read_again(aws, account, services, credentials_file, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "logs")
    services.tokens = {OLD: ""}
    credentials_file(OLD, profile="logs")
    await receive(aws, account)
    services.tokens = {NEW: ""}
    credentials_file(NEW, profile="logs")
    await receive(aws, account)


async def test_a_half_written_file_keeps_the_services_error(
    aws, account, services, credentials_file, caplog, monkeypatch
):
    services.tokens = {OLD: ""}
    await receive(aws, account)
    services.tokens = {NEW: ""}
    credentials_file(NEW).write_text(f"[default]\naws_access_key_id = {NEW}\n")
    with pytest.raises(QueueError, match=r"^UnrecognizedClientException: receive from q"):
        await receive(aws, account)
    credentials_file(NEW)
    monkeypatch.setattr(module, "PAUSE", 0)
    await receive(aws, account)


async def test_a_credential_process_is_asked_again(aws, account, services, tmp_path, monkeypatch):
    answer = tmp_path / "answer.json"
    config = tmp_path / "config"
    config.write_text(
        f"[default]\ncredential_process = {sys.executable} -c \"print(open('{answer}').read())\"\nregion = {REGION}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for key in (OLD, NEW):
        answer.write_text(json.dumps({"Version": 1, "AccessKeyId": key, "SecretAccessKey": "s"}))
        services.tokens = {key: ""}
        await receive(aws, account)
    assert services.keys == [OLD, OLD, NEW]


@every_call
async def test_configured_credentials_are_never_replaced(aws, account, credentials_file, services, call):
    credentials_file(NEW)
    own = msgspec.structs.replace(account, access_key_id=OLD, secret_access_key="s")
    with pytest.raises(REFUSALS) as refused:
        await call(aws, own)
    assert NEW not in services.keys
    if isinstance(refused.value, JibeError):
        assert "restart after you change credentials in the configuration" in str(refused.value)


# Roles


@pytest.fixture
async def sts(monkeypatch):
    sts = Sts()
    async with served(sts) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", address)
        yield sts


@pytest.fixture
def role(account, sts, services, monkeypatch):
    """A configured role. Without the patch, STS would be called at the store's address."""
    monkeypatch.setattr("jibe_sqs.adapters.aws.is_aws", lambda _: True)
    services.tokens = sts.tokens
    return msgspec.structs.replace(account, role_arn=ROLE)


async def test_a_role_is_assumed_with_the_rotated_credentials_of_its_source(aws, role, sts, credentials_file):
    sts.lasting = 60  # short, so the role is assumed again before each request
    sts.sources = {OLD: ""}
    await receive(aws, role)
    credentials_file(NEW)
    sts.sources = {NEW: ""}
    await receive(aws, role)
    assert sts.refusals == 1


async def test_the_first_expiry_of_all_credentials_in_use_is_known(aws, account, role, sts, credentials_file):
    """Credentials from a file do not expire, as far as is known; those of a role do, for the metric and its alert."""
    assert aws.expiry is None
    credentials_file(NEW)
    sts.sources = {NEW: ""}
    await aws.credentials(account).get_frozen_credentials()
    assert aws.expiry is None
    sts.lasting = 3600
    await receive(aws, role)
    assert aws.expiry == pytest.approx(datetime.now(UTC).timestamp() + 3600, abs=300)


@every_call
async def test_a_role_whose_session_was_revoked_is_assumed_again(aws, role, sts, services, credentials_file, call):
    sts.sources = {OLD: ""}
    await call(aws, role)
    sts.revoke()
    await call(aws, role)
    assert sts.answers == 2
    assert len(set(services.keys)) == 2


async def test_a_role_of_a_profile_is_assumed_with_the_rotated_credentials_of_its_source(
    aws, account, services, sts, credentials_file, tmp_path, monkeypatch
):
    config = tmp_path / "config"
    config.write_text(f"[profile logs]\nrole_arn = {ROLE}\nsource_profile = default\nregion = {REGION}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "logs")
    services.tokens = sts.tokens
    sts.lasting = 60
    sts.sources = {OLD: ""}
    await receive(aws, account)
    credentials_file(NEW)
    sts.sources = {NEW: ""}
    await receive(aws, account)
    assert sts.refusals == 1


# Pods, tasks and machines


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text("token-1")
    return path


@asynccontextmanager
async def irsa(monkeypatch, token_file):
    issuer = Sts()
    async with served(issuer) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", address)
        monkeypatch.setenv("AWS_ROLE_ARN", POD_ROLE)
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token_file))
        yield issuer


@asynccontextmanager
async def pod_identity(monkeypatch, token_file):
    issuer = PodIdentity()
    async with served(issuer) as address:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", address + PodIdentity.PATH)
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(token_file))
        yield issuer


@asynccontextmanager
async def ecs(monkeypatch, _token_file):
    issuer = Ecs()
    async with served(issuer) as address:
        # The agent's address is fixed: 169.254.170.2.
        monkeypatch.setattr(ContainerMetadataFetcher, "IP_ADDRESS", urlsplit(address).netloc)
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", Ecs.PATH)
        yield issuer


@asynccontextmanager
async def ecs_full(monkeypatch, _token_file):
    issuer = Ecs()
    async with served(issuer) as address:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", address + Ecs.PATH)
        yield issuer


@asynccontextmanager
async def imds(monkeypatch, _token_file):
    issuer = Imds()
    async with served(issuer) as address:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", address)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
        yield issuer


ISSUERS = [irsa, pod_identity, ecs, ecs_full, imds]


@pytest.fixture(params=ISSUERS, ids=lambda issuer: issuer.__name__)
async def issuer(request, monkeypatch, token_file, services):
    async with request.param(monkeypatch, token_file) as issuer:
        services.tokens = issuer.tokens
        yield issuer


@every_call
async def test_each_client_signs_with_the_issued_credentials(aws, account, services, issuer, call):
    await call(aws, account)
    await call(aws, account)
    assert set(services.keys) == set(issuer.tokens)
    assert (issuer.answers, services.refused) == (1, 0)


async def test_credentials_are_renewed_before_they_expire(aws, account, services, issuer):
    """sqs-consumer #373; Altinity/ice #202."""
    issuer.lasting = 60
    await receive(aws, account)
    if isinstance(issuer, Imds):
        # botocore extends an early expiry to 17 to 25 minutes, and asks again in the last 15.
        credentials = await aws.session(account).get_credentials()
        credentials._current._time_fetcher = lambda: datetime.now(UTC) + timedelta(minutes=12)
    await get(aws, account)
    first, second = services.keys
    assert first != second
    issuer.lasting = 3600
    await receive(aws, account)
    answers = issuer.answers
    await receive(aws, account)
    await get(aws, account)
    assert issuer.answers == answers
    assert len(set(services.keys[2:])) == 1
    assert services.refused == 0


@every_call
async def test_credentials_that_were_revoked_early_are_renewed(aws, account, services, issuer, call):
    await call(aws, account)
    issuer.revoke()
    await call(aws, account)
    assert issuer.answers == 2
    assert services.refused == 1


@pytest.mark.parametrize("issuer", [irsa, pod_identity], indirect=True, ids=lambda issuer: issuer.__name__)
async def test_a_token_file_that_was_rotated_is_read_again(aws, account, services, issuer, token_file):
    issuer.lasting = 60
    await receive(aws, account)
    issuer.accepted = "token-2"
    token_file.write_text("token-2")
    await receive(aws, account)
    assert (issuer.refusals, services.refused) == (0, 0)


@pytest.mark.parametrize("issuer", [irsa, pod_identity], indirect=True, ids=lambda issuer: issuer.__name__)
async def test_an_expired_token_is_named_in_the_error_and_a_new_one_is_used(
    aws, account, issuer, token_file, monkeypatch
):
    monkeypatch.setattr(module, "PAUSE", 0)
    issuer.accepted = "token-2"
    with pytest.raises(QueueUnavailable, match="ExpiredTokenException"):
        await receive(aws, account)
    with pytest.raises(JibeError, match="ExpiredTokenException"):
        await list_bucket(aws, account)
    token_file.write_text("token-2")
    await receive(aws, account)


async def test_a_missing_token_file_is_not_reported_as_a_missing_log(aws, account, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ROLE_ARN", POD_ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "absent"))
    with pytest.raises(QueueUnavailable, match=r"assume-role-with-web-identity.*absent"):
        await receive(aws, account)
    with pytest.raises(JibeError, match=r"assume-role-with-web-identity.*absent") as error:
        await list_bucket(aws, account)
    assert type(error.value).__name__ == "LogStoreUnavailable"


async def test_instance_metadata_v2_is_requested_with_a_session_token(aws, account, services, monkeypatch):
    async with imds(monkeypatch, None) as issuer:
        services.tokens = issuer.tokens
        await receive(aws, account)
        assert issuer.sessions
        assert issuer.refusals == 0


async def test_credentials_that_appear_later_are_used(aws, account, services, monkeypatch):
    """On a machine that has just started, the agent does not answer yet."""
    monkeypatch.setattr(module, "PAUSE", 0)
    async with imds(monkeypatch, None) as issuer:
        services.tokens = issuer.tokens
        issuer.fail = True
        with pytest.raises(QueueUnavailable, match="no AWS credentials found"):
            await receive(aws, account)
        issuer.fail = False
        await receive(aws, account)


async def test_already_expired_credentials_become_our_error(aws, account, issuer):
    if isinstance(issuer, Imds):
        pytest.skip("botocore goes on with expired credentials of IMDS, as AWS asks for")
    issuer.lasting = -60
    with pytest.raises(QueueUnavailable, match="Is this machine's clock right"):
        await receive(aws, account)


@pytest.mark.parametrize(
    "answer", [{}, [], "no JSON", {"AccessKeyId": "k"}, {"AccessKeyId": "k", "SecretAccessKey": "s", "Token": "t", "Expiration": "soon"}]
)  # fmt: skip
async def test_a_malformed_answer_of_an_agent_becomes_our_error(aws, account, monkeypatch, answer):
    async def handler(_request):
        return aiohttp.web.Response(text=answer if isinstance(answer, str) else json.dumps(answer))

    async with served(handler) as address:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", address)
        with pytest.raises(QueueUnavailable, match="Error when retrieving credentials from"):
            await receive(aws, account)


async def test_a_forbidden_agent_address_becomes_our_error(aws, account, monkeypatch):
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://agent.example/v1/credentials")
    with pytest.raises(QueueUnavailable, match=r"Unsupported host 'agent\.example'"):
        await receive(aws, account)


@pytest.mark.parametrize(
    ("role_arn", "variable", "region", "host"),
    [
        (POD_ROLE, "eu-central-1", None, "sts.eu-central-1.amazonaws.com"),
        (POD_ROLE, None, "eu-west-3", "sts.eu-west-3.amazonaws.com"),
        (POD_ROLE, None, None, "sts.us-east-1.amazonaws.com"),
        ("arn:aws-cn:iam::123456789012:role/x", "cn-north-1", None, "sts.cn-north-1.amazonaws.com.cn"),
        ("arn:aws-cn:iam::123456789012:role/x", None, None, "sts.cn-northwest-1.amazonaws.com.cn"),
        ("arn:aws-us-gov:iam::123456789012:role/x", None, None, "sts.us-gov-west-1.amazonaws.com"),
        ("arn:aws-eusc:iam::123456789012:role/x", None, None, "sts.eusc-de-east-1.amazonaws.eu"),
        ("arn:aws-iso:iam::123456789012:role/x", None, None, "sts.us-iso-east-1.c2s.ic.gov"),
    ],
)
async def test_a_web_identity_token_goes_to_sts_of_its_region_and_partition(
    aws, account, monkeypatch, token_file, role_arn, variable, region, host
):
    monkeypatch.setenv("AWS_ROLE_ARN", role_arn)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token_file))
    if variable:
        monkeypatch.setenv("AWS_DEFAULT_REGION", variable)
    asked = []

    async def no_network(_client, _operation, request, *_):
        asked.append(urlsplit(request["url"]).netloc)
        raise ConnectionError("no network here")

    monkeypatch.setattr("aiobotocore.client.AioBaseClient._make_request", no_network)
    credentials = await aws.session(msgspec.structs.replace(account, region=region)).get_credentials()
    with pytest.raises(CredentialRetrievalError, match="no network here"):
        await credentials.get_frozen_credentials()
    assert asked == [host]


# Missing credentials


@every_call
async def test_the_error_for_missing_credentials_lists_where_they_were_looked_for(aws, account, services, call):
    with pytest.raises((JibeError, NoCredentialsError)) as missing:
        await call(aws, account)
    text = str(missing.value)
    assert "\n" not in text
    for place in ("aws.access_key_id", "AWS_ACCESS_KEY_ID", "profile default of " + os.devnull, "instance metadata"):
        assert place in text
    if isinstance(missing.value, JibeError):
        kinds = (LogAccessDenied, QueueUnavailable, LedgerError, KeysUnavailable)
        assert type(missing.value) in kinds
    assert services.keys == []


async def test_a_missing_profile_is_named(aws, account, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "absent")
    with pytest.raises(SettingsError, match="absent"):
        await receive(aws, account)


async def test_half_a_key_in_the_environment_says_what_is_missing(aws, account, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OLD)
    with pytest.raises(QueueUnavailable, match="AWS_SECRET_ACCESS_KEY"):
        await receive(aws, account)


# Frequency of lookups


class Chain:
    """Returns the current credentials."""

    def __init__(self):
        self.now = 0.0
        self.lookups = 0
        self.key = OLD
        self.error = None
        self.credentials = RenewableCredentials(self.look, places=lambda: "places", clock=lambda: self.now)

    async def look(self):
        self.lookups += 1
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        return AioCredentials(self.key, "s", None, method="shared-credentials-file") if self.key else None


@pytest.fixture
def chain():
    return Chain()


async def test_a_refused_key_is_looked_up_at_most_every_few_seconds(chain):
    frozen = await chain.credentials.get_frozen_credentials()
    for _ in range(10):
        assert not await chain.credentials.renew(frozen, "InvalidAccessKeyId")
    assert chain.lookups == 2
    chain.now += PAUSE
    chain.key = NEW
    assert await chain.credentials.renew(frozen, "InvalidAccessKeyId")
    assert (await chain.credentials.get_frozen_credentials()).access_key == NEW
    assert chain.lookups == 3


async def test_a_request_refused_with_the_old_key_uses_the_new_key_without_a_lookup(chain):
    frozen = await chain.credentials.get_frozen_credentials()
    chain.key = NEW
    assert await asyncio.gather(*(chain.credentials.renew(frozen, "ExpiredToken") for _ in range(20))) == [True] * 20
    assert chain.lookups == 2


async def test_missing_credentials_are_looked_up_at_most_every_few_seconds(chain):
    chain.key = None
    attempts = (chain.credentials.get_frozen_credentials() for _ in range(10))
    errors = await asyncio.gather(*attempts, return_exceptions=True)
    assert [str(error) for error in errors] == ["no AWS credentials found in places"] * 10
    assert chain.lookups == 1
    chain.now += PAUSE
    chain.key = NEW
    assert (await chain.credentials.get_frozen_credentials()).access_key == NEW


async def test_a_failed_refresh_is_repeated_at_most_every_few_seconds(chain):
    """With botocore alone, each of many requests would try in turn, for several seconds each."""
    attempts = []

    async def refresh():
        attempts.append(1)
        raise CredentialRetrievalError(provider="container-role", error_msg="the agent is down")

    async def look():
        return AioDeferredRefreshableCredentials(refresh, "container-role")

    credentials = RenewableCredentials(look, places=lambda: "", clock=lambda: chain.now)
    for expected in (1, 2):
        requests = (credentials.get_frozen_credentials() for _ in range(10))
        errors = await asyncio.gather(*requests, return_exceptions=True)
        assert ["the agent is down" in str(error) for error in errors] == [True] * 10
        assert len(attempts) == expected
        chain.now += PAUSE


@pytest.mark.parametrize("error", [OSError("gone"), BotoCoreError(), KeyError("AccessKeyId"), ValueError("odd")])
async def test_a_failed_lookup_keeps_the_old_credentials(chain, error):
    frozen = await chain.credentials.get_frozen_credentials()
    chain.error = error
    assert not await chain.credentials.renew(frozen, "ExpiredToken")
    assert await chain.credentials.get_frozen_credentials() == frozen


@pytest.mark.parametrize("code", sorted(REFUSED | DOUBTFUL))
async def test_each_code_of_refused_credentials_starts_a_lookup(chain, code):
    frozen = await chain.credentials.get_frozen_credentials()
    chain.key = NEW
    assert await chain.credentials.renew(frozen, code)


@pytest.mark.parametrize("code", ["", "AccessDenied", "NoSuchKey", "404", "SlowDown", "RequestTimeTooSkewed"])
async def test_no_other_code_starts_a_lookup(chain, code):
    frozen = await chain.credentials.get_frozen_credentials()
    chain.key = NEW
    assert not await chain.credentials.renew(frozen, code)
    assert chain.lookups == 1
