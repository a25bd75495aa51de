"""CloudTrail records, as CloudTrail writes them: pure builders, one for each call that matters here.

A builder takes the `Call` (who, when, where) and what the call was about, and returns the record as a JSON object whose
fields stand in CloudTrail's order. Chance (ids, the order of `resources`) comes from the call's `random` only.

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
    """Who calls: `identity` is the record's `userIdentity`."""

    identity: Record
    address: str
    agent: str

    @property
    def arn(self) -> str:
        """Nothing, where AWS itself calls."""
        return str(self.identity.get("arn", ""))

    @property
    def name(self) -> str:
        """The user's, or the role's."""
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
    """A user with a key of their own. `agent` is what the client says of itself; CloudTrail puts it into brackets."""
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
    """A session of a role: its ARN names the session, `sessionContext.sessionIssuer` the role."""
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
    """AWS itself, as `cloudtrail.amazonaws.com` or `lifecycle.s3.amazonaws.com`."""
    return Caller({"type": "AWSService", "invokedBy": host}, host, host)


class Call(msgspec.Struct, frozen=True):
    """A call's circumstances. `at` is seconds since the epoch; the record keeps whole ones."""

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
    """The source is the second `AWS::S3::Object` of the resources, which have no fixed order."""
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
    """A browser's form upload."""
    return _on_object(call, "PostObject", bucket, key, response=_encrypted(), received=size)


def delete_object(call: Call, bucket: str, key: str) -> Record:
    return _on_object(call, "DeleteObject", bucket, key)


def delete_objects(call: Call, bucket: str) -> Record:
    """A bulk delete, which doesn't tell its keys: `delete` is empty, and a resource has an `ARNPrefix` in place of an ARN."""
    resources = [{"type": "AWS::S3::Object", "ARNPrefix": f"arn:aws:s3:::{bucket}/"}, _bucket(call, bucket)]
    return _record(call, "DeleteObjects", {**_to(call, bucket), "delete": ""}, resources, received=394, sent=280)


def deleted_by(call: Call, parent: Record, keys: list[str]) -> list[Record]:
    """What CloudTrail can log besides a `DeleteObjects` record: one event for each key, of the same request."""
    children = []
    for key in keys:
        child = delete_object(call, parent["requestParameters"]["bucketName"], key)
        child["requestParameters"] = {name: child["requestParameters"][name] for name in ("bucketName", "key")}
        children.append(child | {"requestID": parent["requestID"], "eventType": "AwsServiceEvent"})
    return children


# Calls that change no object's name or content


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
    """The record of the same call, refused. CloudTrail writes the error before the request's parameters."""
    refused: Record = {}
    for field, value in record.items():
        if field == "requestParameters":
            refused |= {"errorCode": code, "errorMessage": message}
        refused[field] = None if field == "responseElements" else value
    return refused


def log_delivery(call: Call, bucket: str, key: str, size: int) -> Record:
    """CloudTrail's own write of a log file, `call.caller` being `aws_service("cloudtrail.amazonaws.com")`."""
    record = _on_object(
        call, "PutObject", bucket, key, request={"x-amz-acl": "bucket-owner-full-control"}, received=size
    )
    # A service calls from inside: no TLS is told, and the event is shared with the trail's owner.
    record.pop("tlsDetails")
    category = record.pop("eventCategory")
    return record | {"sharedEventID": _uuid(call.random), "eventCategory": category}


# Other kinds of events


def create_bucket(call: Call, bucket: str) -> Record:
    """A management event: about a bucket, not about an object."""
    request = {**_to(call, bucket), "CreateBucketConfiguration": {"LocationConstraint": call.region}}
    return _record(call, "CreateBucket", request, [_bucket(call, bucket)], management=True)


def assume_role(call: Call, role: str, session: str) -> Record:
    """A record of another service, as a trail of management events is full of."""
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
    """The seventeen characters after a principal id's prefix: always the same for a name."""
    return f"{Random(name).getrandbits(68):017X}"
