"""CloudTrail records with unusual fields. Only a field that identifies the object can make a record bad."""

import json
import re
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.core.cloudtrail_logs import (
    ABSENT,
    ACCESS_POINT,
    BUCKET,
    DELETED,
    HIDDEN,
    KEY,
    NOTHING,
    OF_OUTPOST,
    OMITTED,
    PARAMETERS,
    READ_ONLY,
    USER,
    WRITTEN,
    ZONAL,
    a_bucket,
    an_object,
    below,
    bulk,
    child,
    document,
    meaning,
    of_bucket,
    read,
    read_all,
    record,
    rename,
    stale,
    zonal,
)

from jibe_sqs.core.formats.bad_records import MAX_SHOWN
from jibe_sqs.core.formats.cloudtrail import WRITES
from jibe_sqs.core.formats.json_records import Batch
from jibe_sqs.core.model import UNKNOWN_TIME, Actor, Kind, ObjectEvent, SkipReason

# Bad records

WRONG: dict[str, tuple[Any, str, str]] = {
    "an unknown major version": (record(eventVersion="2.0"), "version '2.0'", "eventVersion"),
    "version 10": (record(eventVersion="10.0"), "version '10.0'", "eventVersion"),
    "version 2": (record(eventVersion="2"), "version '2'", "eventVersion"),
    "no bucket": (record(requestParameters={"key": KEY}, resources=[]), "PutObject.* names a bucket", PARAMETERS),
    "neither parameters nor resources": (record(requestParameters=None, resources=None), "names a bucket", PARAMETERS),
    "omitted parameters": (record(requestParameters=OMITTED, resources=[]), "names a bucket", PARAMETERS),
    "hidden parameters": (record(requestParameters=HIDDEN, resources=[]), "names a bucket", PARAMETERS),
    "a bucket of another type": (
        record(requestParameters={"bucketName": {}, "key": KEY}, resources=[]),
        "names a bucket",
        PARAMETERS,
    ),
    "a hidden bucket": (
        record(requestParameters={"bucketName": HIDDEN, "key": KEY}, resources=[]),
        "names a bucket",
        PARAMETERS,
    ),
    "an unknown call on an object without a bucket": (
        record("TransmogrifyObject", requestParameters={"bucketName": 7, "key": KEY}, resources=[]),
        "TransmogrifyObject.* names a bucket",
        PARAMETERS,
    ),
    "a call without a readable name, and without a bucket": (
        record(7, requestParameters={}, resources=[]),
        "a call without a readable name",
        PARAMETERS,
    ),
    "a text that is not an ARN": (
        record(requestParameters={}, resources=[{"type": "AWS::S3::Object", "ARN": "photos/a"}]),
        "names a bucket",
        PARAMETERS,
    ),
    "DeleteObjects without a bucket": (
        bulk(requestParameters=None, resources=[]),
        "DeleteObjects.* names a bucket",
        PARAMETERS,
    ),
    "null": (None, "not a JSON object", ""),
    "a number": (7, "not a JSON object", ""),
    "a list": ([], "not a JSON object", ""),
}


@pytest.mark.parametrize("indent", [None, 1], ids=["fast", "slow"])
@pytest.mark.parametrize(("wrong", "reason", "field"), WRONG.values(), ids=WRONG.keys())
def test_a_bad_record_is_reported_with_its_position_and_the_others_are_read(wrong, reason, field, indent):
    data = document(record(), record("GetObject"), wrong, record("DeleteObject"), indent=indent)
    for size in (len(data), 700, 41):
        found, [bad] = read_all(data, size)
        assert [getattr(each, "kind", None) for each in found] == [Kind.WRITTEN, None, Kind.DELETED]
        assert re.search(f"^record 2: .*{reason}", str(bad))
        assert (bad.index, bad.field) == (2, field)
        assert json.JSONDecoder().raw_decode(data[bad.offset :].decode())[0] == wrong


def test_a_bad_record_has_its_index_in_a_large_file():
    records = [record("GetObject") for _ in range(400)]
    records[321] = record(eventVersion="2.0")
    found, [bad] = read_all(document(*records), 5000)
    assert (len(found), bad.index) == (399, 321)


def test_offsets_are_searched_only_for_bad_records_that_are_kept(monkeypatch):
    searches = []
    monkeypatch.setattr(Batch, "offset", lambda _, at: searches.append(at) or at)
    _, bad = read_all(document(*[record(eventVersion="2.0")] * 1000))
    assert len(searches) == len(bad) == MAX_SHOWN


def test_a_bad_record_does_not_make_a_good_one_a_duplicate():
    found, [bad] = read_all(document(record(eventID="e", requestParameters=None, resources=None), record(eventID="e")))
    assert bad.index == 0
    assert [each.kind for each in found] == [Kind.WRITTEN]


# A field that does not identify the object may have any type: the record is processed

ODD = [None, "", HIDDEN, 7, -1.5, True, [], ["x"], {}, {"x": {"arn": 1}}, "\udfff", float("nan"), float("inf"), 10**400]
IDENTIFYING = {"eventSource", "eventName", "requestParameters", "resources"}
OTHER_FIELDS = sorted(record().keys() - IDENTIFYING | {"errorCode", "errorMessage", "sharedEventID", "addendum"})


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("field", OTHER_FIELDS)
def test_a_field_may_have_another_type(field, odd):
    if field == "readOnly" and odd is True:
        return
    data = document(record("GetObject"), record(**{field: odd}), record("DeleteObject"))
    for each in (data, document(record("GetObject"), record(**{field: odd}), record("DeleteObject"), indent=1)):
        found, bad = read_all(each)
        assert not bad
        assert [(getattr(one, "kind", None), one.bucket, one.key) for one in found] == [
            (None, BUCKET, KEY),
            *WRITTEN,
            *DELETED,
        ]


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("field", OTHER_FIELDS)
def test_two_records_with_the_same_unusual_field_are_not_duplicates(field, odd):
    if field == "readOnly" and odd is True:
        return
    assert meaning(record(**{field: odd}), record(**{field: odd})) == WRITTEN * 2


@pytest.mark.parametrize("odd", [None, 7, 1.11, True, [], {}, HIDDEN, "", "one"], ids=repr)
def test_a_version_of_another_type_is_accepted(odd):
    assert meaning(record(eventVersion=odd)) == WRITTEN


UNKNOWN_TIMES = [ABSENT, None, "", "soon", HIDDEN, 1769860800, 1769860800.5, [], {}, "0000-01-01T00:00:00Z",
                 "10000-01-01T00:00:00Z", "2026-02-31T00:00:00Z", "0001-01-01T00:00:00+14:00", "2" * 100,
                 "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1900-01-01T00:00:00Z", "2005-12-31T23:59:59Z",
                 "2026-01-31", "2026-01-31T12", "2026-01-31T12:00Z"]  # fmt: skip


@pytest.mark.parametrize("odd", UNKNOWN_TIMES, ids=repr)
def test_an_event_without_a_readable_time_is_new(odd):
    [found] = read(document(record(eventTime=odd)))
    assert (found.kind, found.time) == (Kind.WRITTEN, UNKNOWN_TIME)


@pytest.mark.parametrize("name", ["GetObject", "PutObjectTagging"])
def test_an_unchanged_record_without_a_readable_time_has_no_time(name):
    [found] = read(document(record(name, eventTime=[])))
    assert found.time == 0.0


ISSUER = {"type": "Role", "arn": "arn:aws:iam::111122223333:role/r"}
HALF_READABLE: dict[str, tuple[Any, Actor]] = {
    "hidden": (HIDDEN, Actor()),
    "a number": (7, Actor()),
    "a list": ([{"arn": USER}], Actor()),
    "a number for the ARN": ({"arn": 7, "accessKeyId": "AKIA1"}, Actor("", "AKIA1")),
    "a hidden ARN": ({"arn": HIDDEN, "accessKeyId": "AKIA1"}, Actor("", "AKIA1")),
    "half a character in the ARN": ({"arn": "\ud800", "accessKeyId": "AKIA1"}, Actor("", "AKIA1")),
    "a hidden session": ({"arn": USER, "sessionContext": HIDDEN}, Actor(USER)),
    "a session of another type": ({"arn": USER, "sessionContext": [1]}, Actor(USER)),
    "a hidden issuer": ({"arn": USER, "sessionContext": {"sessionIssuer": HIDDEN}}, Actor(USER)),
    "an issuer with an unreadable ARN": ({"arn": USER, "sessionContext": {"sessionIssuer": {"arn": 7}}}, Actor(USER)),
    "an issuer, and no readable ARN": (
        {"arn": None, "accessKeyId": [], "sessionContext": {"sessionIssuer": ISSUER}},
        Actor("", "", ISSUER["arn"]),
    ),
}


@pytest.mark.parametrize(("identity", "actor"), HALF_READABLE.values(), ids=HALF_READABLE.keys())
def test_unreadable_fields_of_an_actor_are_empty(identity, actor):
    [found] = read(document(record(userIdentity=identity, sourceIPAddress=7, userAgent=HIDDEN)))
    assert (found.kind, found.actor) == (Kind.WRITTEN, actor)


# Services

OURS = [
    *(
        f"{service}.amazonaws.{end}"
        for service in ("s3", "s3express", "s3-outposts")
        for end in ("com", "com.cn", "eu")
    ),
    "s3.eu-west-1.amazonaws.com",
    "s3.cn-north-1.amazonaws.com.cn",
    "s3.sc2s.sgov.gov",
    "s3",
    " s3.amazonaws.com",
    "S3.AMAZONAWS.COM",
    "S3Express",
]
UNREADABLE_SOURCES = [ABSENT, None, "", HIDDEN, 7, [], {}, "\udfff"]
OTHERS = ["ec2.amazonaws.com", "s3tables.amazonaws.com", "s3.example.com", "mys3.amazonaws.com", "aws:s3", "odd"]


@pytest.mark.parametrize("source", OURS + UNREADABLE_SOURCES, ids=repr)
def test_a_write_belongs_to_s3_by_its_service_or_if_the_service_is_unreadable(source):
    assert meaning(record(eventSource=source)) == WRITTEN


@pytest.mark.parametrize("source", UNREADABLE_SOURCES, ids=repr)
@pytest.mark.parametrize("name", ["RunInstances", 7, None, HIDDEN, "GetObject", "PutObjectTagging"])
def test_a_record_without_service_and_change_does_not_matter(source, name):
    [found] = read(document(record(name, eventSource=source, requestParameters=7, readOnly=None)))
    assert found.reason in {SkipReason.NOT_OBJECT_CHANGE, SkipReason.READ_ONLY}


@pytest.mark.parametrize("name", ["PutObject", "RunInstances", 7, None])
@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("source", OTHERS)
def test_a_record_of_another_service_never_matters(source, odd, name):
    fields = dict.fromkeys(record().keys() - {"eventName", "eventSource", "readOnly"}, odd)
    assert meaning(record(name, eventSource=source, **fields), record()) == NOTHING + WRITTEN


@pytest.mark.parametrize("text", [b'{"x":01}', b'{"x":"\\q"}', b"{'x':1}", b'{"a":1 "b":2}'], ids=repr)
def test_a_record_of_another_service_does_not_matter_even_if_it_is_not_json(text):
    data = document(record(), record("RunInstances", eventSource="ec2.amazonaws.com", x="X"), record())
    found, bad = read_all(data.replace(b'"X"', text))
    assert not bad
    assert [each.key for each in found] == [KEY, "", KEY]


# Which object

POINTS = {
    "of another account": ACCESS_POINT,
    "of several regions": "arn:aws:s3::111122223333:accesspoint/x.mrap",
    "an alias": "my-ap-a1b2c3-s3alias",
    "FSx's alias": "my-fsx-ap-x4ojnyefhfxnmhp9hqvx5zhb1qxaausw2a-ext-s3alias",
    "an outpost's alias": "my-ap-o01ac5d28a6a232904e8xz5w8ijx1qzlbp3i3kuse10--op-s3",
    "of an outpost": "arn:aws:s3-outposts:us-east-1:111122223333:outpost/op-01/accesspoint/ap",
    "of Object Lambda": "arn:aws:s3-object-lambda:us-east-1:111122223333:accesspoint/ap",
    "Object Lambda's alias": "my-olap-1a4n8yjrb3kda96f67zwrwiiuse1a--ol-s3",
    "a directory bucket's": "ap--use2-az2--xa-s3",
    "a directory bucket's ARN": "arn:aws:s3express:us-east-2:111122223333:accesspoint/ap--use2-az2--xa-s3",
    "an alias of several regions": "mfzwi23gnjvgw.mrap",
    "by an ARN with colons": "arn:aws:s3:us-east-1:111122223333:accesspoint:ap1",
    "of an outpost, by an ARN with colons": "arn:aws:s3-outposts:us-east-1:111122223333:outpost:op-1:accesspoint:ap",
    "a host name of several regions": "mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com",
    "in China": "arn:aws-cn:s3:cn-north-1:111122223333:accesspoint/ap",
}


@pytest.mark.parametrize("name", ["PutObject", "DeleteObject", "DeleteObjects", "RenameObject"])
@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS.keys())
def test_an_access_point_whose_bucket_is_not_named_is_not_mapped(point, name):
    resources = [
        {"type": "AWS::S3::Object", "ARN": f"{point}/object/a"},
        {"type": "AWS::S3::AccessPoint", "ARN": point},
    ]
    for each in (resources, [], None, HIDDEN):
        made = record(name, requestParameters={"bucketName": point, "key": "a"}, resources=each)
        assert meaning(made) == [(SkipReason.NOT_MAPPED, point, "a")]


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS.keys())
def test_an_access_point_means_the_bucket_among_the_resources(point):
    parameters = {"bucketName": point, "key": KEY}
    for resources in ([a_bucket()], [an_object()], [{"ARN": point}, an_object(), a_bucket()], [None, a_bucket()]):
        assert meaning(record(requestParameters=parameters, resources=resources)) == WRITTEN
    bulk_of_point = bulk(requestParameters={"bucketName": point}, resources=[below(prefix="a/"), {"ARN": point}])
    assert meaning(bulk_of_point) == stale("a/")


def stale_keys(*records: Any) -> set[tuple[str, str]]:
    return {(bucket, key) for _, bucket, key in meaning(*records)}


SOURCE = an_object("src")


@pytest.mark.parametrize("name", ["CopyObject", "TransmogrifyObject", None])
@pytest.mark.parametrize("bucket", ["ap-a1-s3alias", ACCESS_POINT, HIDDEN, None, 7])
def test_a_copy_without_its_bucket_makes_each_named_bucket_stale(bucket, name):
    made = {"requestParameters": {"bucketName": bucket, "key": KEY}}
    for resources in ([SOURCE, a_bucket()], [a_bucket(), SOURCE], [SOURCE, a_bucket("src"), a_bucket()]):
        assert stale_keys(record(name, **made, resources=resources)) == {(BUCKET, KEY), ("src", KEY)}
    assert stale_keys(record(name, **made, resources=[a_bucket()])) == {(BUCKET, KEY)}


@pytest.mark.parametrize("parameters", [HIDDEN, OMITTED, None, {}, {"key": 7}], ids=repr)
@pytest.mark.parametrize("resources", [[SOURCE, a_bucket()], [a_bucket(), SOURCE], [SOURCE, an_object()]])
def test_a_copy_with_unreadable_parameters_makes_each_named_bucket_stale(resources, parameters):
    made = record("CopyObject", requestParameters=parameters, resources=resources)
    assert stale_keys(made) == {(BUCKET, ""), ("src", "")}


@pytest.mark.parametrize("name", ["PutObject", "DeleteObject"])
def test_a_key_that_is_too_long_is_a_bad_record_and_makes_the_bucket_stale(name):
    long = record(name, requestParameters={"bucketName": BUCKET, "key": "k" * 5000})
    found, [bad] = read_all(document(record(), long, record()))
    assert summary(found) == WRITTEN + (BUCKET_DELETED if name == "DeleteObject" else BUCKET_STALE) + WRITTEN
    assert re.search(f"^record 1: .*a {name} of a key of 5,000 characters", str(bad))
    assert bad.field == "requestParameters.key"


def test_a_prefix_that_is_too_long_is_a_bad_record_and_makes_the_bucket_stale():
    found, [bad] = read_all(document(bulk(resources=[below(prefix="p" * 5000)]), record()))
    assert summary(found) == WRITTEN + stale()
    assert bad.index == 0


@pytest.mark.parametrize(
    "other",
    [
        child("a", "r", requestParameters={"bucketName": "other", "key": "a"}),
        child("a", "r", requestParameters={"bucketName": ACCESS_POINT, "key": "a"}, resources=[]),
        child("a", "r", requestParameters={"bucketName": BUCKET, "key": 7}, resources=[]),
        child("a", "r", errorCode="AccessDenied"),
    ],
    ids=["of another bucket", "of no bucket", "of no key", "failed"],
)
def test_only_records_of_keys_in_the_same_bucket_replace_delete_objects(other):
    bulky = bulk(requestID="r", requestParameters={"bucketName": BUCKET}, resources=[])
    for records in ([bulky, other], [other, bulky]):
        found = read(document(*records))
        assert (found[-1].kind, found[-1].bucket, found[-1].key) == (Kind.DELETED_UNLISTED, BUCKET, "")


ZONAL_POINT = "ap--use2-az2--xa-s3"
ZONAL_POINT_ARN = f"arn:aws:s3express:us-east-2:111122223333:accesspoint/{ZONAL_POINT}"


def renamed_through(point: str, source: str) -> Any:
    made = rename(source, zonal(kind="DirectoryBucket"))
    made[PARAMETERS]["bucketName"] = point
    return meaning(made)


@pytest.mark.parametrize("point", [ZONAL_POINT, ZONAL_POINT_ARN])
@pytest.mark.parametrize(
    "place",
    ["", "/", f"/{ZONAL}/", f"{ZONAL_POINT}/", f"/{ZONAL_POINT}/", f"{ZONAL_POINT_ARN}/", f"{ZONAL_POINT_ARN}/object/"],
)
def test_the_source_of_a_rename_through_an_access_point_is_found(place, point):
    assert renamed_through(point, f"{place}old/a%20b") == [
        (Kind.DELETED, ZONAL, "old/a b"),
        (Kind.WRITTEN, ZONAL, "new/b"),
    ]


@pytest.mark.parametrize(
    "source", ["/other--use2-az2--x-s3/old/a", "arn:aws:s3:::other/old/a", "arn:x", ZONAL_POINT_ARN]
)
def test_a_rename_with_an_uncertain_source_makes_the_bucket_stale(source):
    assert renamed_through(ZONAL_POINT, source) == RENAMED_FROM_SOMEWHERE


def test_the_arn_of_a_directory_bucket_may_omit_the_word_bucket():
    arn = f"arn:aws:s3express:us-east-2:111122223333:{ZONAL}/a/b"
    assert meaning(record(requestParameters=None, resources=[{"ARN": arn}])) == [(Kind.WRITTEN, ZONAL, "a/b")]


@pytest.mark.parametrize("source", UNREADABLE_SOURCES, ids=repr)
@pytest.mark.parametrize("name", [ABSENT, None, 7, HIDDEN])
def test_a_record_without_service_and_call_is_a_write_if_it_names_an_object(source, name):
    assert meaning(record(name, eventSource=source)) == WRITTEN
    assert meaning(record(name, eventSource=source, requestParameters={"bucketName": BUCKET})) == NOTHING


def test_a_write_on_an_outpost_by_its_arn():
    made = record(eventSource="s3-outposts.amazonaws.com", requestParameters={}, resources=[OF_OUTPOST])
    assert meaning(made) == [(Kind.WRITTEN, "photos", "a")]


BUCKET_STALE = [(Kind.WRITTEN_UNLISTED, BUCKET, "")]
BUCKET_DELETED = [(Kind.DELETED_UNLISTED, BUCKET, "")]
NO_KEYS = [ABSENT, None, "", 7, 0, False, [], ["a"], {}, HIDDEN, "\udfff", "a/\ud800/b"]


@pytest.mark.parametrize("name", [*sorted(WRITES), "DeleteObject"])
@pytest.mark.parametrize("key", NO_KEYS, ids=repr)
def test_a_key_that_cannot_be_read_makes_the_bucket_stale(key, name):
    parameters = {"bucketName": BUCKET, "key": key} if key is not ABSENT else {"bucketName": BUCKET}
    expected = BUCKET_DELETED if name == "DeleteObject" else BUCKET_STALE
    for resources in ([], [a_bucket()], None, HIDDEN, [7], {"ARN": 5}):
        assert meaning(record(name, requestParameters=parameters, resources=resources)) == expected


@pytest.mark.parametrize("key", NO_KEYS, ids=repr)
def test_an_unreadable_key_is_taken_from_the_resources(key):
    parameters = {"bucketName": BUCKET, "key": key} if key is not ABSENT else {"bucketName": BUCKET}
    assert meaning(record(requestParameters=parameters)) == WRITTEN


NO_PARAMETERS = [None, HIDDEN, OMITTED, {}, [], 7, "bucketName=photos", {"bucketName": None, "key": None}]


@pytest.mark.parametrize("parameters", NO_PARAMETERS, ids=repr)
def test_unreadable_parameters_are_replaced_by_the_resources(parameters):
    assert meaning(record(requestParameters=parameters)) == WRITTEN
    assert meaning(record("DeleteObject", requestParameters=parameters)) == DELETED
    assert meaning(record(requestParameters=parameters, resources=[a_bucket()])) == BUCKET_STALE
    assert meaning(record(requestParameters=parameters, resources=[an_object(key="")])) == BUCKET_STALE
    assert meaning(record("DeleteObject", requestParameters=parameters, resources=[a_bucket()])) == BUCKET_DELETED
    assert meaning(bulk(requestParameters=parameters)) == stale()
    assert meaning(bulk(requestParameters=parameters, resources=[a_bucket()])) == stale()


@pytest.mark.parametrize(
    "entry", [None, 7, "x", [], {}, {"ARN": 5}, {"ARN": None}, {"ARN": "\udfff"}, {"type": 5}], ids=repr
)
def test_an_unreadable_resource_is_left_out(entry):
    assert meaning(record(requestParameters=None, resources=[entry, an_object(), a_bucket()])) == WRITTEN
    assert meaning(record(requestParameters=None, resources=[entry, a_bucket()])) == BUCKET_STALE
    assert meaning(bulk(requestParameters=None, resources=[below(), entry])) == stale()


def test_a_single_resource_may_be_without_a_list():
    assert meaning(record(requestParameters=None, resources=an_object())) == WRITTEN


def test_several_objects_without_a_request_make_their_buckets_stale():
    two = [an_object(), an_object(key="other"), an_object("elsewhere")]
    assert meaning(record(requestParameters=None, resources=two[:2])) == BUCKET_STALE
    assert meaning(record(requestParameters=None, resources=two)) == [
        *BUCKET_STALE,
        (Kind.WRITTEN_UNLISTED, "elsewhere", ""),
    ]


def test_the_source_of_a_copy_is_not_taken_for_its_target():
    made = record("CopyObject", requestParameters={"bucketName": BUCKET, "key": 7}, resources=[an_object(), {"ARN": 7}])
    assert meaning(made) == BUCKET_STALE


@pytest.mark.parametrize("name", [7, None, HIDDEN, ["PutObject"]], ids=repr)
def test_a_call_without_a_readable_name_counts_as_a_write(name):
    assert meaning(record(name)) == WRITTEN
    assert meaning(record(name, requestParameters={"bucketName": BUCKET}, resources=[])) == BUCKET_STALE
    assert meaning(record(name, readOnly=True)) == READ_ONLY


def test_an_unknown_call_with_hidden_parameters_counts_as_a_write():
    hidden = {"requestParameters": HIDDEN, "resources": [a_bucket()]}
    assert meaning(record("TransmogrifyObject", **hidden)) == BUCKET_STALE
    assert meaning(of_bucket("TransmogrifyObject")) == [(SkipReason.NOT_OBJECT_CHANGE, BUCKET, "")]


RENAMED_FROM_SOMEWHERE = [(Kind.DELETED_UNLISTED, ZONAL, ""), (Kind.WRITTEN, ZONAL, "new/b")]


@pytest.mark.parametrize(
    "made",
    [
        rename(None),
        rename(None, zonal("/new/b")),
        rename(7),
        rename("\udfff"),
        rename("caf%E9"),
        rename(HIDDEN),
        rename(None, zonal("/new/b"), zonal("/old/1"), zonal("/old/2")),
    ],
    ids=["nowhere", "itself", "a number", "half a character", "an odd encoding", "hidden", "several"],
)
def test_a_rename_with_an_unreadable_source_makes_the_bucket_stale(made):
    assert meaning(made) == RENAMED_FROM_SOMEWHERE


def test_a_rename_with_an_unreadable_target_makes_the_bucket_stale():
    made = rename("old")
    made["requestParameters"]["key"] = None
    assert meaning(made) == [(Kind.WRITTEN_UNLISTED, ZONAL, "")]


# Texts that the strict decoder refuses


@pytest.mark.parametrize("around", [",", " , "], ids=["fast", "slow"])
@pytest.mark.parametrize(
    "value",
    [
        b'"\\udfff"',
        b"NaN",
        b"-Infinity",
        b'"\n\0"',
        b'"\xff\xc3"',
        b"[" * 5000 + b"]" * 5000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b"9" * 5000,
    ],
    ids=["half a character", "NaN", "infinity", "controls", "not UTF-8", "lists", "objects", "digits"],
)
@pytest.mark.parametrize("field", ["additionalEventData", "userIdentity", "eventID", "eventTime", "errorCode"])
def test_other_fields_may_have_values_that_the_strict_decoder_refuses(field, value, around):
    texts = [
        json.dumps(each).encode() for each in (record("GetObject"), record(**{field: "ODD"}), record("DeleteObject"))
    ]
    data = b'{"Records":[' + around.encode().join(texts).replace(b'"ODD"', value) + b"]}"
    if (field, value) == ("errorCode", b'"\n\0"'):
        return  # a text, if an odd one
    for size in (len(data), 999):
        assert [(getattr(each, "kind", None), each.key) for each in read(data, size)] == [
            (None, KEY),
            (Kind.WRITTEN, KEY),
            (Kind.DELETED, KEY),
        ]


@pytest.mark.parametrize("sizes", [[], [20, 10_000]], ids=["whole", "in two chunks"])
def test_a_bad_record_of_any_depth_costs_no_other_record(sizes):
    """The decoders' limit depends on the stack, so one call can decode a value that the next call cannot."""
    limit = sys.getrecursionlimit()
    for depth in range(limit - 200, limit + 10):
        bad = record(requestParameters="DEEP", resources=ABSENT)
        text = document(bad, record()).replace(b'"DEEP"', b'{"x":' * depth + b"1" + b"}" * depth)
        assert text.count(b'{"x":') == depth
        found, errors = read_all(text, *sizes)
        assert [each.key for each in found] == [KEY], depth
        assert [each.field for each in errors] == [PARAMETERS]


def test_a_request_with_a_deeply_nested_part_still_names_its_object():
    data = document(record(requestParameters={"x": "ODD", "bucketName": BUCKET, "key": KEY, "y": "ODD"}), record())
    assert [each.key for each in read(data.replace(b'"ODD"', b"[" * 5000 + b"]" * 5000))] == [KEY, KEY]


def test_the_last_of_two_fields_with_the_same_name_counts():
    data = document(record()).replace(b'"eventID":', b'"eventID":7,"eventID":')
    assert [each.key for each in read(data)] == [KEY]


def test_a_key_that_is_not_utf8_makes_the_bucket_stale():
    data = document(record(requestParameters={"bucketName": BUCKET, "key": "CAFE"}, resources=[]), record())
    found = read(data.replace(b"CAFE", b"caf\xe9"))
    assert [(each.kind, each.bucket, each.key) for each in found] == [*BUCKET_STALE, *WRITTEN]


@pytest.mark.parametrize(
    "text",
    [
        b'{"eventSource":"s3.amazonaws.com","eventName":"GetObject","requestParameters":{"bucketName":"\xff"}}',
        b'{"eventSource":"s3.amazonaws.com","eventName":"GetObject","requestParameters":{"key":"\xff"}}',
    ],
)
def test_a_read_may_have_bytes_that_are_not_utf8(text):
    assert [each.reason for each in read(b'{"Records":[' + text + b"]}")] == [SkipReason.READ_ONLY]


# Random damage

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([BUCKET, HIDDEN, "\udc00"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["arn", "key", "x", "ARN"]), inner, max_size=3)
    ),
    max_leaves=8,
)
DAMAGE = JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=6).map(
    lambda data: b'"' + data.replace(b'"', b"").replace(b"\\", b"") + b'"'
)
SAFE_FIELDS = [each for each in OTHER_FIELDS if each not in ("readOnly", "errorCode", "eventVersion")]
SIZES = st.lists(st.integers(1, 3000), min_size=1, max_size=5)


def summary(found: Any) -> Any:
    return [(getattr(each, "kind", None), each.bucket, each.key) for each in found]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(SAFE_FIELDS), DAMAGE, st.integers(0, 3), SIZES, st.sampled_from([None, 1]))
def test_any_damage_to_a_field_that_does_not_identify_the_object_changes_nothing(field, damage, which, sizes, indent):
    records = [record(), record("GetObject"), record("DeleteObject"), record("PutObject")]
    expected = summary(read(document(*records)))
    records[which][field] = "DAMAGED"
    data = document(*records, indent=indent).replace(b'"DAMAGED"', damage)
    found, bad = read_all(data, *sizes)
    assert not bad
    assert summary(found) == expected


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["PutObject", "DeleteObject", "CopyObject", "RenameObject"]),
    st.sampled_from(["requestParameters", "resources", "eventName", "eventSource", "eventVersion", "key"]),
    DAMAGE,
    SIZES,
)
def test_any_damage_to_a_record_does_not_lose_another_record(name, field, damage, sizes):
    damaged = record(name)
    (damaged["requestParameters"] if field == "key" else damaged)[field] = "DAMAGED"
    data = document(record(eventID="a"), damaged, record(eventID="b")).replace(b'"DAMAGED"', damage)
    found, bad = read_all(data, *sizes)
    assert found[0].event_id == "a"
    assert found[-1].event_id == "b"
    assert len(bad) <= 1
    assert all(each.index == 1 for each in bad)
    if field in ("resources", "key"):
        assert not bad
        assert {each.bucket for each in found[1:-1] if isinstance(each, ObjectEvent)} >= {BUCKET}
