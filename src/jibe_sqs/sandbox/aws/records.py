"""Builds CloudTrail records: pure functions, one for each API call that matters here.

A builder takes a `Call` (caller, time, region) and the call's parameters. It returns the record as a JSON object
with its fields in CloudTrail's order. Random parts (ids, the order of `resources`) come only from the call's
`random`.

Format: CloudTrail User Guide, record contents; S3 User Guide, CloudTrail log file entries.
"""

from datetime import UTC, datetime
from random import Random
from typing import Any
from urllib.parse import quote
from uuid import UUID

import msgspec

Record = dict[str, Any]

_TLS = {"tlsVersion": "TLSv1.3", "cipherSuite": "TLS_AES_128_GCM_SHA256"}


class Caller(msgspec.Struct, frozen=True):
    """The caller of the API. `identity`: the record's `userIdentity`."""

    identity: Record
    address: str
    agent: str

    @property
    def arn(self) -> str:
        """Empty if the caller is an AWS service."""
        return str(self.identity.get("arn", ""))

    @property
    def name(self) -> str:
        """The name of the user or the role."""
        issuer = self.identity.get("sessionContext", {}).get("sessionIssuer", {})
        return str(self.identity.get("userName") or issuer.get("userName", ""))

    @property
    def access_key(self) -> str:
        """The id of the access key."""
        return str(self.identity.get("accessKeyId", ""))

    @property
    def principal_id(self) -> str:
        """The id of the user or the session."""
        return str(self.identity.get("principalId", ""))

    @property
    def user_agent(self) -> str:
        """The user agent as the client sent it, without CloudTrail's brackets."""
        return self.agent.removeprefix("[").removesuffix("]")


def iam_user(name: str, *, account: str, access_key: str, address: str = "198.51.100.7", agent: str = "") -> Caller:
    """An IAM user with its own access key. `agent`: the client's user agent; CloudTrail puts it into brackets."""
    identity = {
        "type": "IAMUser",
        "principalId": f"AIDA{_id_of(name)}",
        "arn": f"arn:aws:iam::{account}:user/{name}",
        "accountId": account,
        "accessKeyId": access_key,
        "userName": name,
    }
    return Caller(
        identity, address, f"[{agent or 'aws-cli/2.31.0 md/awscrt#0.28.4 ua/2.1 os/linux#6.8 lang/python#3.13'}]"
    )


def assumed_role(role: str, session: str, *, account: str, access_key: str, address: str = "203.0.113.24") -> Caller:
    """A session of a role. Its ARN contains the session's name, `sessionContext.sessionIssuer` the role."""
    principal = f"AROA{_id_of(role)}"
    identity = {
        "type": "AssumedRole",
        "principalId": f"{principal}:{session}",
        "arn": f"arn:aws:sts::{account}:assumed-role/{role}/{session}",
        "accountId": account,
        "accessKeyId": access_key,
        "sessionContext": {
            "sessionIssuer": {
                "type": "Role",
                "principalId": principal,
                "arn": f"arn:aws:iam::{account}:role/{role}",
                "accountId": account,
                "userName": role,
            },
            "attributes": {"creationDate": "2026-01-01T00:00:00Z", "mfaAuthenticated": "false"},
        },
    }
    return Caller(identity, address, "[Boto3/1.43 md/Botocore#1.43 ua/2.1 os/linux lang/python#3.13]")


def aws_service(host: str) -> Caller:
    """An AWS service, for example `cloudtrail.amazonaws.com` or `lifecycle.s3.amazonaws.com`."""
    return Caller({"type": "AWSService", "invokedBy": host}, host, host)


class Call(msgspec.Struct, frozen=True):
    """The circumstances of a call. `at`: seconds since the epoch; a record contains whole seconds."""

    caller: Caller
    at: float
    region: str
    account: str
    random: Random


# Writes


def put_object(call: Call, bucket: str, key: str, size: int = 0) -> Record:
    request = {"X-Amz-Date": _compact(call.at), "Content-Length": str(size)}
    return _on_object(call, "PutObject", bucket, key, request=request, response=_encrypted(), received=size)


def copy_object(call: Call, bucket: str, key: str, source_bucket: str, source_key: str) -> Record:
    """The copy's source is a second `AWS::S3::Object` in `resources`, which has no fixed order."""
    request = {"x-amz-copy-source": f"{source_bucket}/{quote(source_key)}"}
    record = _on_object(call, "CopyObject", bucket, key, request=request, response=_encrypted(), sent=224)
    record["resources"].append({"type": "AWS::S3::Object", "ARN": f"arn:aws:s3:::{source_bucket}/{source_key}"})
    call.random.shuffle(record["resources"])
    return record


def create_multipart_upload(call: Call, bucket: str, key: str) -> Record:
    return _on_object(call, "CreateMultipartUpload", bucket, key, request={"uploads": ""}, response=_encrypted())


def upload_part(call: Call, bucket: str, key: str, upload: str, part: int = 1, size: int = 0) -> Record:
    request = {"partNumber": str(part), "uploadId": upload}
    return _on_object(call, "UploadPart", bucket, key, request=request, response=_encrypted(), received=size)


def complete_multipart_upload(call: Call, bucket: str, key: str, upload: str) -> Record:
    request = {"uploadId": upload}
    return _on_object(call, "CompleteMultipartUpload", bucket, key, request=request, response=_encrypted(), sent=300)


def post_object(call: Call, bucket: str, key: str, size: int = 0) -> Record:
    """A form upload by a browser."""
    return _on_object(call, "PostObject", bucket, key, response=_encrypted(), received=size)


def delete_object(call: Call, bucket: str, key: str) -> Record:
    return _on_object(call, "DeleteObject", bucket, key)


def delete_objects(call: Call, bucket: str) -> Record:
    """A bulk delete. The record has no keys: `delete` is empty, and a resource has an `ARNPrefix` in
    place of an ARN.
    """
    resources = [{"type": "AWS::S3::Object", "ARNPrefix": f"arn:aws:s3:::{bucket}/"}, _bucket(call, bucket)]
    return _record(call, "DeleteObjects", {**_to(call, bucket), "delete": ""}, resources, received=394, sent=280)


def deleted_by(call: Call, parent: Record, keys: list[str]) -> list[Record]:
    """The records that CloudTrail may add to a `DeleteObjects` record: one for each key, with the same request id."""
    children = []
    for key in keys:
        child = delete_object(call, parent["requestParameters"]["bucketName"], key)
        child["requestParameters"] = {name: child["requestParameters"][name] for name in ("bucketName", "key")}
        children.append(child | {"requestID": parent["requestID"], "eventType": "AwsServiceEvent"})
    return children


# Calls that change no object's name and no object's content


def get_object(call: Call, bucket: str, key: str, size: int = 0) -> Record:
    return _on_object(call, "GetObject", bucket, key, sent=size, read_only=True)


def head_object(call: Call, bucket: str, key: str) -> Record:
    return _on_object(call, "HeadObject", bucket, key, read_only=True)


def list_objects(call: Call, bucket: str, prefix: str = "") -> Record:
    request = {"list-type": "2", **_to(call, bucket), "prefix": prefix, "encoding-type": "url"}
    resources = [{"type": "AWS::S3::Object", "ARNPrefix": f"arn:aws:s3:::{bucket}/{prefix}"}, _bucket(call, bucket)]
    return _record(call, "ListObjects", request, resources, read_only=True, sent=1400)


def put_object_tagging(call: Call, bucket: str, key: str) -> Record:
    return _on_object(call, "PutObjectTagging", bucket, key, request={"tagging": ""})


def put_object_acl(call: Call, bucket: str, key: str) -> Record:
    return _on_object(call, "PutObjectAcl", bucket, key, request={"acl": "", "x-amz-acl": "private"})


def failed(record: Record, code: str = "AccessDenied", message: str = "Access Denied") -> Record:
    """The record of the same call if S3 refuses it. CloudTrail writes the error before the request's parameters."""
    refused: Record = {}
    for field, value in record.items():
        if field == "requestParameters":
            refused |= {"errorCode": code, "errorMessage": message}
        refused[field] = None if field == "responseElements" else value
    return refused


def log_delivery(call: Call, bucket: str, key: str, size: int) -> Record:
    """The record of CloudTrail's own write of a log file. `call.caller` is
    `aws_service("cloudtrail.amazonaws.com")`.
    """
    record = _on_object(
        call, "PutObject", bucket, key, request={"x-amz-acl": "bucket-owner-full-control"}, received=size
    )
    # A service calls without TLS details, and the trail's owner shares the event.
    record.pop("tlsDetails")
    category = record.pop("eventCategory")
    return record | {"sharedEventID": _uuid(call.random), "eventCategory": category}


# Other kinds of events


def create_bucket(call: Call, bucket: str) -> Record:
    """A management event. It concerns a bucket, not an object."""
    request = {**_to(call, bucket), "CreateBucketConfiguration": {"LocationConstraint": call.region}}
    return _record(call, "CreateBucket", request, [_bucket(call, bucket)], management=True)


def assume_role(call: Call, role: str, session: str) -> Record:
    """A record of another service. A trail of management events contains many of these."""
    arn = f"arn:aws:iam::{call.account}:role/{role}"
    record = _record(
        call,
        "AssumeRole",
        {"roleArn": arn, "roleSessionName": session},
        [{"accountId": call.account, "type": "AWS::IAM::Role", "ARN": arn}],
        read_only=True,
        management=True,
    )
    record.pop("additionalEventData")
    return record | {"eventSource": "sts.amazonaws.com"}


def _on_object(
    call: Call,
    name: str,
    bucket: str,
    key: str,
    *,
    request: Record | None = None,
    response: Record | None = None,
    read_only: bool = False,
    received: int = 0,
    sent: int = 0,
) -> Record:
    resources = [{"type": "AWS::S3::Object", "ARN": f"arn:aws:s3:::{bucket}/{key}"}, _bucket(call, bucket)]
    parameters = {**_to(call, bucket), **(request or {}), "key": key}
    return _record(
        call, name, parameters, resources, response=response, read_only=read_only, received=received, sent=sent
    )


def _record(
    call: Call,
    name: str,
    request: Record,
    resources: list[Record],
    *,
    response: Record | None = None,
    read_only: bool = False,
    management: bool = False,
    received: int = 0,
    sent: int = 0,
) -> Record:
    call.random.shuffle(resources)
    record: Record = {
        "eventVersion": "1.11",
        "userIdentity": call.caller.identity,
        "eventTime": datetime.fromtimestamp(int(call.at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventSource": "s3.amazonaws.com",
        "eventName": name,
        "awsRegion": call.region,
        "sourceIPAddress": call.caller.address,
        "userAgent": call.caller.agent,
        "requestParameters": request,
        "responseElements": response,
        "additionalEventData": {
            "SignatureVersion": "SigV4",
            "CipherSuite": _TLS["cipherSuite"],
            "bytesTransferredIn": received,
            "AuthenticationMethod": "AuthHeader",
            "x-amz-id-2": f"{call.random.getrandbits(384):096x}",
            "bytesTransferredOut": sent,
        },
        "requestID": f"{call.random.getrandbits(64):016X}",
        "eventID": _uuid(call.random),
        "readOnly": read_only,
        "resources": resources,
        "eventType": "AwsApiCall",
        "managementEvent": management,
        "recipientAccountId": call.account,
    }
    if call.caller.identity.get("accountId") not in (None, call.account):
        record["sharedEventID"] = _uuid(call.random)
    record["eventCategory"] = "Management" if management else "Data"
    host = request.get("Host", f"sts.{call.region}.amazonaws.com")
    return record | {"tlsDetails": {**_TLS, "clientProvidedHostHeader": host}}


def _to(call: Call, bucket: str) -> Record:
    return {"bucketName": bucket, "Host": f"{bucket}.s3.{call.region}.amazonaws.com"}


def _bucket(call: Call, bucket: str) -> Record:
    return {"accountId": call.account, "type": "AWS::S3::Bucket", "ARN": f"arn:aws:s3:::{bucket}"}


def _encrypted() -> Record:
    return {"x-amz-server-side-encryption": "AES256"}


def _compact(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y%m%dT%H%M%SZ")


def _uuid(random: Random) -> str:
    return str(UUID(int=random.getrandbits(128), version=4))


def _id_of(name: str) -> str:
    """The seventeen characters after the prefix of a principal id. The same name always gives the same id."""
    return f"{Random(name).getrandbits(68):017X}"
