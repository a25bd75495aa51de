"""SNS's signatures: the signed text, the certificate, and that every change of either is found."""

import base64
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.core.announcements import announcements, envelope
from jibe_sqs.core.errors import AnnouncementError, AnnouncementForged, AnnouncementUnknown, AnnouncementUnsigned
from jibe_sqs.core.sns import SIGNED, SigningHosts, check_signature, public_key, signed

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:logs"
HOSTS = {
    "aws": SigningHosts("amazonaws.com", re.compile(r"^(us|eu|ap)\-\w+\-\d+$")),
    "aws-cn": SigningHosts("amazonaws.com.cn", re.compile(r"^cn\-\w+\-\d+$")),
    "aws-us-gov": SigningHosts("amazonaws.com", re.compile(r"^us\-gov\-\w+\-\d+$")),
}
"""Some partitions, with the patterns of botocore."""
NOW = datetime(2026, 11, 21, tzinfo=UTC)
BODY = json.dumps({"s3Bucket": "logs", "s3ObjectKey": ["a"]})


def notification(key=KEY, *, version="1", subject="Amazon S3 Notification", **fields):
    """A message as SNS writes and signs it. The signed text follows SNS's documentation, not our code."""
    message = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Subject": subject,
        "Message": BODY,
        "Timestamp": "2026-11-21T10:00:00.000Z",
        "SignatureVersion": version,
        "SigningCertURL": URL,
        "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe",
        **fields,
    }
    text = f"Message\n{message['Message']}\nMessageId\n{message['MessageId']}\n"
    if subject is None:
        del message["Subject"]
    else:
        text += f"Subject\n{message['Subject']}\n"
    text += f"Timestamp\n{message['Timestamp']}\nTopicArn\n{message['TopicArn']}\nType\nNotification\n"
    message["Signature"] = signature(key, text, version)
    return message


def confirmation(key=KEY, kind="SubscriptionConfirmation"):
    message = {
        "Type": kind,
        "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "Token": "2336412f37",
        "TopicArn": TOPIC,
        "Message": "You have chosen to subscribe",
        "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription",
        "Timestamp": "2026-11-21T10:00:00.000Z",
        "SignatureVersion": "2",
        "SigningCertURL": URL,
    }
    names = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
    message["Signature"] = signature(key, "".join(f"{name}\n{message[name]}\n" for name in names), "2")
    return message


def signature(key, text, version):
    return base64.b64encode(
        key.sign(text.encode(), padding.PKCS1v15(), SHA1() if version == "1" else SHA256())
    ).decode()


def certificate(key=KEY, *, start=NOW - timedelta(days=1), end=NOW + timedelta(days=1)):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(1).not_valid_before(start).not_valid_after(end)
    return built.sign(KEY, SHA256()).public_bytes(Encoding.PEM)


def check(message, topics=()):
    check_signature(signed(message, HOSTS, topics), KEY.public_key())


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", ["Amazon S3 Notification", None])
def test_a_notification_signed_by_sns_passes(version, subject):
    check(notification(version=version, subject=subject))


@pytest.mark.parametrize("kind", ["SubscriptionConfirmation", "UnsubscribeConfirmation"])
def test_a_confirmation_signed_by_sns_passes(kind):
    check(confirmation(kind=kind))


def test_a_subject_that_is_null_is_left_out_of_the_signed_text():
    check({**notification(subject=None), "Subject": None})


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_signed_text_passes(text):
    check(notification(Message=text))


@pytest.mark.parametrize("make", [notification, confirmation])
@given(data=st.data())
def test_any_change_of_a_signed_field_is_found(make, data):
    message = make()
    field = data.draw(st.sampled_from(SIGNED[message["Type"]]))
    changed = data.draw(st.one_of(st.text(), st.none(), st.integers(), edits(message[field])))
    if changed == message[field]:
        return
    message[field] = changed
    with pytest.raises(AnnouncementError):
        check(message)


def edits(text):
    """The text with one character removed or inserted."""
    places = st.integers(0, len(text) - 1)
    return places.map(lambda i: text[:i] + text[i + 1 :]) | places.map(lambda i: text[:i] + "\n" + text[i:])


@given(st.integers(min_value=0), st.integers(0, 7))
def test_any_change_of_the_signature_is_found(place, bit):
    message = notification()
    raw = bytearray(base64.b64decode(message["Signature"]))
    raw[place % len(raw)] ^= 1 << bit
    message["Signature"] = base64.b64encode(bytes(raw)).decode()
    with pytest.raises(AnnouncementForged):
        check(message)


def test_a_value_cannot_imitate_the_next_field():
    """The signed text would be the same, and the message would not."""
    good = notification(Message="a\nMessageId\nb", MessageId="c", subject=None)
    check(good)
    with pytest.raises(AnnouncementForged, match="MessageId"):
        check({**good, "Message": "a", "MessageId": "b\nMessageId\nc"})


def test_the_error_names_a_missing_field_and_a_field_of_another_type():
    message = notification()
    del message["Timestamp"]
    with pytest.raises(AnnouncementForged, match=r"^Timestamp is missing in the SNS Notification$"):
        check(message)
    with pytest.raises(AnnouncementForged, match=r"^MessageId in the SNS Notification is not a string on one line$"):
        check(notification(MessageId="a\nb"))


def test_a_lower_signature_version_is_found():
    with pytest.raises(AnnouncementForged, match="signature"):
        check({**notification(version="2"), "SignatureVersion": "1"})


def test_a_signature_by_another_key_is_forged():
    with pytest.raises(AnnouncementForged, match="did not send"):
        check(notification(OTHER_KEY))


DEEP: list = []
for _ in range(2_000):
    DEEP = [DEEP]


@pytest.mark.parametrize("field", ["Signature", "SignatureVersion", "SigningCertURL"])
def test_an_envelope_without_a_signature_is_unsigned(field):
    message = notification()
    del message[field]
    with pytest.raises(AnnouncementUnsigned):
        check(message)


@pytest.mark.parametrize(
    "wrong",
    [
        {"SignatureVersion": "3"},
        {"SignatureVersion": 2},
        {"SignatureVersion": ["1"]},
        {"SignatureVersion": {"a": DEEP}},
        {"SigningCertURL": DEEP},
        {"Signature": DEEP},
        {"Signature": "?"},
        {"Signature": 7},
        {"Signature": "A" * 4096},
    ],
)
def test_a_malformed_signature_is_forged(wrong):
    with pytest.raises(AnnouncementForged):
        check({**notification(), **wrong})


def test_a_topic_that_is_not_configured_is_refused_with_a_remedy():
    check(notification(), topics={TOPIC})
    with pytest.raises(AnnouncementForged, match=r"sns\.topics"):
        check(notification(TopicArn="arn:aws:sns:eu-west-1:999999999999:logs"), topics={TOPIC})


def test_an_unknown_type_is_an_error():
    with pytest.raises(AnnouncementUnknown):
        check({**notification(), "Type": "Other"})


@pytest.mark.parametrize(
    ("partition", "host"),
    [
        ("aws", "sns.eu-west-1.amazonaws.com"),
        ("aws", "sns.ap-southeast-7.amazonaws.com"),
        ("aws", "sns.us-east-1.amazonaws.com"),
        ("aws-us-gov", "sns.us-gov-west-1.amazonaws.com"),
        ("aws-cn", "sns.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_a_certificate_url_of_sns_is_accepted_for_topics_of_its_partition_only(partition, host):
    url = f"https://{host}/SimpleNotificationService-a.pem"
    for each in HOSTS:
        message = notification(TopicArn=TOPIC.replace("arn:aws:", f"arn:{each}:"), SigningCertURL=url)
        if each == partition:
            assert signed(message, HOSTS).certificate == url
        else:
            with pytest.raises(AnnouncementForged, match="partition of the topic"):
                signed(message, HOSTS)


@pytest.mark.parametrize(
    "topic", ["", "logs", "arn:aws", "arn:aws-moon:sns:eu-west-1:1:logs", "arn:aws:sqs:eu-west-1:1:x"]
)
def test_a_topic_of_no_known_partition_is_refused(topic):
    with pytest.raises(AnnouncementForged, match="partition of the topic"):
        signed(notification(TopicArn=topic), HOSTS)


@pytest.mark.parametrize(
    "url",
    [
        URL.replace("https", "http"),
        URL.replace("sns.eu-west-1", "sns."),
        "https://sns.eu-west-1.amazonaws.com.evil.com/a.pem",
        "https://evil.com/sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.com/a.pem",
        "https://evil.com#sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/a.pem",
        "https://s3.eu-west-1.amazonaws.com/a.pem",
        "https://evil.sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.a.b.amazonaws.com/a.pem",
        # The S3 bucket `sns`: its owner can store certificates there.
        "https://sns.s3.amazonaws.com/a.pem",
        "https://sns.s3-us-west-2.amazonaws.com/a.pem",
        "https://sns.s3-accelerate.amazonaws.com/a.pem",
        "https://sns.s3-fips-us-gov-west-1.amazonaws.com/a.pem",
        "https://sns.elb.amazonaws.com/a.pem",
        "https://sns.execute-api.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonawsxcom/a.pem",
        "https://sns.eu-west-1.amazonaws.eu/a.pem",
        "https://sns.eu-west-1.api.aws/a.pem",
        "https://sns-fips.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-\u0661.amazonaws.com/a.pem",
        "https://sns.eu-w_t-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com/a.pem?x",
        "https://sns.eu-west-1.amazonaws.com/../a.pem",
        "https://sns.eu-west-1.amazonaws.com/a.txt",
        URL + "\n",
        " " + URL,
        "",
    ],
)
def test_any_other_certificate_url_is_refused_before_it_is_fetched(url):
    message = {**notification(), "SigningCertURL": url}
    with pytest.raises(AnnouncementForged if url else AnnouncementUnsigned):
        signed(message, HOSTS)


@given(st.text(), st.sampled_from(["https://{}/a.pem", "https://{}@sns.eu-west-1.amazonaws.com/a.pem",
                                   "https://sns.{}.amazonaws.com/a.pem", "https://sns.eu-west-1.amazonaws.com{}/a.pem",
                                   "https://sns.eu-west-1.{}/a.pem"]))  # fmt: skip
def test_an_accepted_certificate_url_has_the_host_of_sns_in_a_region(text, form):
    url = form.format(text)
    try:
        signed({**notification(), "SigningCertURL": url}, HOSTS)
    except AnnouncementForged:
        return
    assert re.fullmatch(r"https://sns\.(us|eu|ap)-[a-z0-9]+-[0-9]+\.amazonaws\.com/[A-Za-z0-9_-]+\.pem", url)


def test_a_valid_certificate_gives_its_key():
    assert public_key(certificate(), NOW).public_numbers() == KEY.public_key().public_numbers()


@pytest.mark.parametrize("moment", [NOW - timedelta(days=2), NOW + timedelta(days=2)])
def test_an_expired_or_future_certificate_is_refused(moment):
    with pytest.raises(AnnouncementForged, match="valid from"):
        public_key(certificate(), moment)


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\x00" * 99])
def test_data_that_is_not_a_certificate_is_refused(pem):
    with pytest.raises(AnnouncementForged, match="cannot parse the signing certificate"):
        public_key(pem, NOW)


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(public_exponent=65537, key_size=1024)]
)
def test_a_weak_key_and_a_key_that_is_not_rsa_are_refused(key):
    with pytest.raises(AnnouncementForged, match="RSA"):
        public_key(certificate(key), NOW)


@given(st.text() | st.builds(json.dumps, st.recursive(st.none() | st.text(), st.lists)))
def test_a_body_that_is_not_an_envelope_gives_none(body):
    assert envelope(body) is None


def test_the_verified_text_is_the_text_that_is_read():
    """If a field occurs twice, both functions use the last one."""
    good = json.dumps(notification())
    doubled = good[:-1] + ', "Message": "' + json.dumps(BODY.replace("logs", "evil"))[1:-1] + '"}'
    found = envelope(doubled)
    assert announcements(doubled)[0].bucket == "evil"
    with pytest.raises(AnnouncementForged):
        check(found)
