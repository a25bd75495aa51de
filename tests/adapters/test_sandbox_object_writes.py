"""Which requests to the sandbox's S3 change objects, and which objects they change."""

from urllib.parse import quote

import pytest

from jibe_sqs.sandbox.aws.object_writes import ObjectWrite, object_write
from jibe_sqs.sandbox.aws.s3_calls import CallKind

VIRTUAL, PATH = "media.s3.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com"
NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
FORM = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\nnew dir/a.txt\r\n--x--\r\n'


def write(method, uri, body=b"", host=VIRTUAL, **headers):
    sent = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    form = {"CONTENT_TYPE": "multipart/form-data; boundary=x", "CONTENT_LENGTH": str(len(body))}
    return object_write({"REQUEST_METHOD": method, "REQUEST_URI": uri, "HTTP_HOST": host, **form, **sent}, body)


KEYS = ["a", "new dir/h.txt", "a//b", "/a", "//a", "a/", "../a", "a b+c%2Fd?e#f&g", "naïve/🎬"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("host", "before", "bucket"),
    [
        (VIRTUAL, "/", "media"),
        ("media.s3.amazonaws.com", "/", "media"),
        ("my.media.s3.dualstack.eu-west-1.amazonaws.com", "/", "my.media"),
        ("media.s3-fips.us-gov-west-1.amazonaws.com", "/", "media"),
        ("media.s3.cn-north-1.amazonaws.com.cn", "/", "media"),
        (PATH, "/media/", "media"),
        ("s3.amazonaws.com", "/my.media/", "my.media"),
    ],
)
def test_bucket_and_key_are_found_in_every_kind_of_address(host, before, bucket, key):
    assert write("PUT", before + quote(key), host=host) == ObjectWrite(CallKind.PUT, bucket, (key,))
    assert write("DELETE", before + quote(key), host=host) == ObjectWrite(CallKind.DELETE, bucket, (key,))


@pytest.mark.parametrize("query", ["x-id=PutObject", "X-Amz-Signature=0&X-Amz-Date=1", "versionId=1", "uploads2", ""])
def test_other_query_parameters_do_not_hide_a_write(query):
    assert write("PUT", f"/a?{query}") == ObjectWrite(CallKind.PUT, "media", ("a",))
    assert write("DELETE", f"/a?{query}") == ObjectWrite(CallKind.DELETE, "media", ("a",))


@pytest.mark.parametrize("header", ["/other/b%20c/d?versionId=1", "other/b%20c/d", "%2Fother%2Fb%20c%2Fd"])
def test_a_copy_has_its_source(header):
    found = write("PUT", "/a", x_amz_copy_source=header)
    assert found == ObjectWrite(CallKind.COPY, "media", ("a",), source=("other", "b c/d"))


@pytest.mark.parametrize(("host", "uri"), [(VIRTUAL, "/?delete"), (PATH, "/media?delete="), (PATH, "/media/?delete")])
@pytest.mark.parametrize("namespace", ["", NAMESPACE])
def test_a_bulk_delete_has_its_keys(host, uri, namespace):
    objects = "<Object><Key>a &amp; b</Key></Object><Object><Key>é/c</Key><VersionId>1</VersionId></Object>"
    body = f"<Delete{namespace}>{objects}<Quiet>true</Quiet></Delete>".encode()
    found = write("POST", uri, body, host=host)
    assert found == ObjectWrite(CallKind.DELETE_MANY, "media", ("a & b", "é/c"))


def test_a_completed_multipart_upload_is_a_write():
    found = write("POST", "/a/b?uploadId=U", b"<CompleteMultipartUpload/>")
    assert found == ObjectWrite(CallKind.MULTIPART, "media", ("a/b",), upload="U")


def test_a_form_upload_is_a_write():
    assert write("POST", "/", FORM % b"key") == ObjectWrite(CallKind.POST, "media", ("new dir/a.txt",))


@pytest.mark.parametrize(
    ("method", "uri", "body"),
    [
        ("GET", "/a", b""),
        ("HEAD", "/a", b""),
        *(("PUT", f"/a?{each}", b"") for each in ("tagging", "acl", "retention", "legal-hold=")),
        ("PUT", "/a?partNumber=1&uploadId=U", b"part"),
        ("DELETE", "/a?tagging", b""),
        ("DELETE", "/a?uploadId=U", b""),
        ("POST", "/a?uploads", b""),
        ("POST", "/a?restore", b""),
        ("POST", "/a?select&select-type=2", b""),
        ("PUT", "/", b""),
        ("PUT", "/?versioning", b""),
        ("DELETE", "/", b""),
        ("POST", "/", FORM % b"other"),
    ],
)
def test_other_calls_are_not_writes(method, uri, body):
    assert write(method, uri, body) is None


@pytest.mark.parametrize("host", ["sqs.eu-west-1.amazonaws.com", "123456789012.s3-control.eu-west-1.amazonaws.com"])
def test_requests_to_other_services_are_not_writes(host):
    assert write("PUT", "/media/a", host=host) is None
    assert write("POST", "/media?delete", b"{}", host=host) is None
