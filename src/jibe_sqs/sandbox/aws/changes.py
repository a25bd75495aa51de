"""Makes changes in S3 as users and programs do that bypass Access Anywhere.

Each change is a real call to S3 and is recorded.
"""

import time
from collections.abc import Callable, Iterator
from itertools import cycle
from random import Random
from typing import Any, Final, Protocol

from botocore.exceptions import ClientError

from jibe_sqs.sandbox.aws import records
from jibe_sqs.sandbox.aws.change_kinds import NEEDS_AN_OBJECT, WEIGHTS, Change, ChangeKind
from jibe_sqs.sandbox.aws.deployment import Deployment
from jibe_sqs.sandbox.aws.keys import Tree
from jibe_sqs.sandbox.aws.listing import Objects
from jibe_sqs.sandbox.aws.publishers import CallRecorder
from jibe_sqs.sandbox.aws.records import Caller
from jibe_sqs.sandbox.aws.s3_calls import CallKind, ObjectAddress, S3Call, access_anywhere


class OwnWrite(Protocol):
    """An upload through Access Anywhere, which stores an object in S3 and shows it in its index."""

    def __call__(self, bucket: str, key: str, body: bytes) -> None: ...


CONTENT_TYPE: Final = "binary/octet-stream"
"""S3's default content type. It is set explicitly because some stores refuse an empty body without it."""
_Result = tuple[list[ObjectAddress], float]


class Writer:
    """Makes changes. The same seed makes the same changes. `objects`: what S3 must list after them.

    Without `access_anywhere`, no change is made through Access Anywhere.
    """

    def __init__(
        self, deployment: Deployment, publisher: CallRecorder, *, seed: int = 0, access_anywhere: OwnWrite | None = None
    ) -> None:
        self.objects: Objects = {}
        self._deployment = deployment
        self._publisher = publisher
        self._own_write = access_anywhere
        self._random = Random(f"changes {seed}")
        # A second generator, so that the details of a call do not influence which changes are made.
        self._ids = Random(f"how changes are made {seed}")
        self._deleted: list[ObjectAddress] = []
        self._number = 0
        self._remaining = 0
        self._bulk_deletes = cycle((ChangeKind.BULK_DELETE, ChangeKind.BULK_DELETE_LISTED))
        self._tree = Tree(self._random, list(deployment.buckets))
        self._callers = _callers(deployment.account)
        self._actions: dict[ChangeKind, Callable[[Caller], _Result]] = {
            ChangeKind.PUT: lambda caller: self._put(caller, self._new_address()),
            ChangeKind.OVERWRITE: lambda caller: self._put(caller, self._existing_address()),
            ChangeKind.COPY: self._copy,
            ChangeKind.MULTIPART: self._multipart,
            ChangeKind.DELETE: self._delete,
            ChangeKind.BULK_DELETE: lambda caller: self._delete_many(caller, listed=False),
            ChangeKind.BULK_DELETE_LISTED: lambda caller: self._delete_many(caller, listed=True),
            ChangeKind.READ: self._read,
            ChangeKind.FAILED: self._fail,
            ChangeKind.TAGGING: self._tag,
            ChangeKind.OWN_WRITE: lambda _: self._write_own(),
        }

    def changes(self, n: int) -> Iterator[Change]:
        """Make `n` changes, each one when the iterator is advanced. They are recorded; the caller delivers them."""
        self._tree.grow(n // 8)
        if not self._number:
            self._record_bucket_creations()
        kinds = [kind for kind in WEIGHTS if self._own_write or kind is not ChangeKind.OWN_WRITE]
        weights = [WEIGHTS[kind] for kind in kinds]
        self._remaining = n
        while self._remaining > 0:
            (kind,) = self._random.choices(kinds, weights)
            if kind in NEEDS_AN_OBJECT and not self.objects:
                kind = ChangeKind.PUT
            if kind is ChangeKind.BULK_DELETE:
                kind = next(self._bulk_deletes)
            addresses, at = self._actions[kind](self._random.choice(self._callers))
            self._remaining -= len(addresses)
            first = self._number - len(addresses) + 1
            for number, (bucket, key) in enumerate(addresses, first):
                yield Change(number, kind, bucket, key, at, own=kind is ChangeKind.OWN_WRITE)

    # Each of the following methods calls S3 and records the call. It returns the addresses of the objects, and the time
    # of S3's answer.

    def _put(self, caller: Caller, address: ObjectAddress) -> _Result:
        bucket, key = address
        body = self._body()
        began = time.time()
        answer = self._s3(bucket).put_object(Bucket=bucket, Key=key, Body=body, ContentType=CONTENT_TYPE)
        self._stored(address, len(body), answer["ETag"])
        # An upload by the API and an upload by a form store the same object.
        kind = CallKind.POST if self._ids.random() < 0.04 else CallKind.PUT
        return self._record_call(kind, [address], caller, began)

    def _copy(self, caller: Caller) -> _Result:
        source, address = self._existing_address(), self._new_address()
        bucket, key = address
        began = time.time()
        answer = self._s3(bucket).copy_object(
            Bucket=bucket, Key=key, CopySource={"Bucket": source[0], "Key": source[1]}
        )
        self._stored(address, self.objects[source][0], answer["CopyObjectResult"]["ETag"])
        return self._record_call(CallKind.COPY, [address], caller, began, source=source)

    def _multipart(self, caller: Caller) -> _Result:
        address = bucket, key = self._new_address()
        body = self._body()
        s3, at, began = self._s3(bucket), {"Bucket": bucket, "Key": key}, time.time()
        upload = s3.create_multipart_upload(**at)["UploadId"]
        part = s3.upload_part(**at, UploadId=upload, PartNumber=1, Body=body)["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
        answer = s3.complete_multipart_upload(**at, UploadId=upload, MultipartUpload=parts)
        self._stored(address, len(body), answer["ETag"])
        return self._record_call(CallKind.MULTIPART, [address], caller, began, upload=upload)

    def _delete(self, caller: Caller) -> _Result:
        address = bucket, key = self._existing_address()
        began = time.time()
        self._s3(bucket).delete_object(Bucket=bucket, Key=key)
        self._deleted_object(address)
        return self._record_call(CallKind.DELETE, [address], caller, began)

    def _delete_many(self, caller: Caller, *, listed: bool) -> _Result:
        bucket, _ = self._existing_address()
        here = [address for address in self.objects if address[0] == bucket]
        addresses = self._random.sample(here, min(len(here), self._random.randint(2, 6), self._remaining))
        began = time.time()
        self._s3(bucket).delete_objects(
            Bucket=bucket, Delete={"Objects": [{"Key": key} for _, key in addresses], "Quiet": True}
        )
        for address in addresses:
            self._deleted_object(address)
        return self._record_call(CallKind.DELETE_MANY, addresses, caller, began, listed=listed)

    def _read(self, caller: Caller) -> _Result:
        address = bucket, key = self._existing_address()
        s3, began = self._s3(bucket), time.time()
        match self._random.randrange(3):
            case 0:
                s3.get_object(Bucket=bucket, Key=key)["Body"].read()
                return self._record_call(CallKind.GET, [address], caller, began)
            case 1:
                s3.head_object(Bucket=bucket, Key=key)
                return self._record_call(CallKind.HEAD, [address], caller, began)
            case _:
                prefix = key.rpartition("/")[0]
                s3.list_objects_v2(Bucket=bucket, Prefix=prefix)
                return self._record_call(CallKind.LIST, [address], caller, began, prefix=prefix)

    def _fail(self, caller: Caller) -> _Result:
        # moto refuses no call. A refused call is only recorded.
        kind = CallKind.DELETE if self.objects and self._random.random() < 0.5 else CallKind.PUT
        address = self._existing_address() if kind is CallKind.DELETE else self._tree.new_key()
        return self._record_call(kind, [address], caller, time.time(), failed=True)

    def _tag(self, caller: Caller) -> _Result:
        address = bucket, key = self._existing_address()
        began = time.time()
        if self._random.random() < 0.5:
            tags = {"TagSet": [{"Key": "reviewed", "Value": "yes"}]}
            self._s3(bucket).put_object_tagging(Bucket=bucket, Key=key, Tagging=tags)
            return self._record_call(CallKind.TAG, [address], caller, began)
        try:
            self._s3(bucket).put_object_acl(Bucket=bucket, Key=key, ACL="private")
        except ClientError:
            # Not every store supports ACLs. The call is recorded anyway, as failed.
            return self._record_call(CallKind.ACL, [address], caller, began, failed=True)
        return self._record_call(CallKind.ACL, [address], caller, began)

    def _write_own(self) -> _Result:
        if self._own_write is None:
            raise RuntimeError("a change through Access Anywhere needs the argument access_anywhere")
        address = bucket, key = self._new_address()
        body = self._body()
        began = time.time()
        self._own_write(bucket, key, body)
        answer = self._s3(bucket).head_object(Bucket=bucket, Key=key)
        self._stored(address, answer["ContentLength"], answer["ETag"])
        return self._record_call(CallKind.PUT, [address], access_anywhere(self._deployment.account), began)

    def _record_call(
        self,
        kind: CallKind,
        addresses: list[ObjectAddress],
        caller: Caller,
        began: float,
        *,
        source: ObjectAddress | None = None,
        upload: str = "",
        prefix: str = "",
        failed: bool = False,
        listed: bool = False,
    ) -> _Result:
        at = time.time()
        bucket = addresses[0][0]
        size, etag = self.objects.get(addresses[0], (0, ""))
        numbers = range(self._number + 1, self._number + len(addresses) + 1)
        self._number += len(addresses)
        self._publisher.record(
            S3Call(
                kind=kind,
                bucket=bucket,
                region=self._deployment.buckets[bucket],
                account=self._deployment.account,
                caller=caller,
                began=began,
                at=at,
                keys=() if kind is CallKind.LIST else tuple(key for _, key in addresses),
                prefix=prefix,
                size=size,
                etag=etag,
                source=source,
                upload=upload,
                failed=failed,
                listed=listed,
                changes=tuple(numbers),
            )
        )
        return addresses, at

    def _record_bucket_creations(self) -> None:
        account = self._deployment.account
        for bucket, region in self._deployment.buckets.items():
            now = time.time()
            self._publisher.record(
                S3Call(
                    kind=CallKind.CREATE_BUCKET,
                    bucket=bucket,
                    region=region,
                    account=account,
                    caller=self._callers[0],
                    began=now,
                    at=now,
                )
            )

    def _new_address(self) -> ObjectAddress:
        """The address of a new object. Sometimes one that was deleted before."""
        if self._deleted and self._random.random() < 0.05:
            return self._deleted.pop(self._random.randrange(len(self._deleted)))
        return self._tree.new_key()

    def _existing_address(self) -> ObjectAddress:
        return self._random.choice(list(self.objects))

    def _body(self) -> bytes:
        return self._random.randbytes(self._random.choice((0, 1, 40, 700, 3000)))

    def _stored(self, address: ObjectAddress, size: int, etag: str) -> None:
        self.objects[address] = size, etag.strip('"')

    def _deleted_object(self, address: ObjectAddress) -> None:
        del self.objects[address]
        self._deleted.append(address)

    def _s3(self, bucket: str) -> Any:
        return self._deployment.client("s3", self._deployment.buckets[bucket])


def _callers(account: str) -> list[Caller]:
    return [
        records.iam_user("ana", account=account, access_key="AKIAANAANAANAANAANA0", address="198.51.100.23"),
        records.iam_user("render-farm", account=account, access_key="AKIARENDERRENDER0000", agent="rclone/v1.71.0"),
        records.assumed_role("ingest", "ingest-7f9c", account=account, access_key="ASIAINGESTINGEST0000"),
        records.assumed_role(
            "AWSReservedSSO_Editors", "bo@example.com", account=account, access_key="ASIASSOSSOSSOSSO0000"
        ),
    ]
