"""The dictionary of the fuzzer: words that occur in each format."""

from typing import Final

_JSON_WORDS: Final = [
    b"null",
    b"true",
    b'""',
    b"[]",
    b"{}",
    b"},{",
    b'":',
    b"\\u0000",
    b"\\ud800",
    b"1e999",
    b"-1",
    b"\xc3",
]
_TIMES: Final = [b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:59-23:59", b"2026-01-31T12:00:00Z", b"2026-W05-6"]

WORDS: Final[dict[str, list[bytes]]] = {
    "announcements": [
        *(_JSON_WORDS + _TIMES),
        *(
            b'"Type"',
            b'"Message"',
            b'"TopicArn"',
            b'"Records"',
            b'"s3Bucket"',
            b'"s3ObjectKey"',
            b'"Event"',
            b'"detail"',
        ),
        *(b"UnsubscribeConfirmation", b"LifecycleExpiration:Delete", b"ObjectRestore:Post", b"%00", b"%ff", b"+"),
    ],
    "cloudtrail": [
        *(_JSON_WORDS + _TIMES),
        *(
            b'"Records":[',
            b'},{"eventVersion"',
            b"]}",
            b'"errorCode":"x"',
            b'"readOnly":true',
            b'"resources":',
            b'"ARN":',
        ),
        *(b"DeleteObjects", b"DeleteObject", b"RenameObject", b"AwsServiceEvent", b"-s3alias", b'"ARNPrefix":'),
        *(b"arn:aws:s3:::b/k", b"arn:aws:s3express:r:a:bucket/b--az--x-s3/k", b'"AWS::S3::Object"', b'"Key":'),
    ],
    "audit-log": [
        *(_JSON_WORDS + _TIMES),
        *(
            b'"auditEntry":',
            b'"api":{',
            b'"objects":[',
            b'"objectName":',
            b"ILMExpiry",
            b"ilm:expiry",
            b"PostPolicyBucket",
        ),
        *(
            b'"timeToResponseInNS":',
            b'"timeToResponse":',
            b"999999999999999999",
            b"rebalance",
            b"\n",
            b"\r\n",
            b"Tagging",
        ),
    ],
    "access-log": [
        *(
            b" - ",
            b'"',
            b'" "',
            b"\n",
            b"%25",
            b"%",
            b"%ff",
            b"BATCH.DELETE.OBJECT",
            b"S3.EXPIRE.OBJECT",
            b"REST.POST.UPLOAD",
        ),
        *(b"[31/Jan/9999:23:59:59 -2359]", b"[01/Jan/0001:00:00:00 +2359]", b"999999999999999", b" 200 ", b"\xff"),
        *(b"+", b"%2B", b"%252B", b"}{", b'}{"operation":', b'"key":', b'"http_status":', b'"logEvents":[', b"\\udfff"),
    ],
    "decompressed": [b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\0", b"\xff", b"\x50\x2a\x4d\x18"],
    "recompressed": [b"\0", b"\x1f\x8b"],
    "digests": [
        *(_JSON_WORDS + _TIMES),
        *(
            b'"previousDigestSignature":',
            b'"logFiles":[',
            b'"hashAlgorithm":"SHA-256"',
            b"_backfill.json.gz",
            b"AWSLogs/",
        ),
        *(b"CloudTrail-Digest/", b"20260131T120000Z", b"o-abc/", b"99991231T235959Z", b"null", b"\n"),
    ],
}
