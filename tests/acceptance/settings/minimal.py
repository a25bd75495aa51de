"""A minimal configuration, changes to it, and the mistakes that loading it reports."""

import pytest

from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.s3 import Regions
from jibe_sqs.compose import stores
from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.settings import Settings, load

QUEUE = "https://sqs.us-east-1.amazonaws.com/111122223333/jibe"
MINIMAL = {
    "access_anywhere": {"endpoint": "https://files.example.com", "login": "ana", "password": "PASSWORD-CANARY"},
    "queues": [{"url": QUEUE}],
    "buckets": {"media": "/Amazon S3/media"},
}
JIBE = {"endpoint": "https://files.example.com", "login": "ana", "password": "PASSWORD-CANARY"}
OKERA = {"s3Region": "us-west-2", "sqsRegion": "eu-west-1", "sqsUrl": "https://queues.example.com/1/jibe"}


def problems(kind=Settings, **named):
    with pytest.raises(SettingsError) as raised:
        load(kind, **named)
    assert "CANARY" not in str(raised.value)
    assert "CANARY" not in repr(raised.value)
    return raised.value.problems


def changed(**changes):
    return {**MINIMAL, **changes}


def s3_logs(settings, clients):
    return stores.s3_logs(settings, Regions(clients, S3Clock()), clients, Budget(1))
