"""Regions and partitions of host names, from botocore's data."""

import botocore.session
import pytest

from jibe_sqs.adapters.partitions import home_region, is_aws, partition_of, partitions, region_of_url
from jibe_sqs.core.formats.cloudtrail_records import is_s3_source

SESSION = botocore.session.Session()
ALL = [
    (partition, region) for partition in partitions() for region in SESSION.get_available_regions("sqs", partition.name)
]


@pytest.mark.parametrize(("partition", "region"), ALL, ids=lambda each: each if isinstance(each, str) else each.name)
def test_the_region_of_a_queue_is_found_in_each_kind_of_host_name(partition, region):
    plain, dual_stack = partition.suffixes
    for host in (
        f"sqs.{region}.{plain}",
        f"sqs-fips.{region}.{plain}",
        f"{region}.queue.{plain}",
        f"vpce-0a1b2c-3d4e.sqs.{region}.vpce.{plain}",
        f"vpce-0a1b2c-3d4e-{region}a.sqs.{region}.vpce.{plain}",
        f"sqs.{region}.{dual_stack}",
        f"sqs-fips.{region}.{dual_stack}",
        f"SQS.{region.upper()}.{plain.upper()}",
    ):
        assert region_of_url(f"https://{host}/111122223333/the-queue") == region
        assert region_of_url(f"https://{host}:443/111122223333/the-queue.fifo") == region
        assert is_aws(f"https://{host}")
    assert partition_of(region) == partition.name


def test_there_are_regions_of_all_partitions():
    """Otherwise the test above would test nothing."""
    assert {partition.name for partition, _ in ALL} >= {
        "aws",
        "aws-cn",
        "aws-us-gov",
        "aws-eusc",
        "aws-iso",
        "aws-iso-f",
    }


def test_the_legacy_host_without_a_region_belongs_to_us_east_1():
    assert region_of_url("https://queue.amazonaws.com/111122223333/the-queue") == "us-east-1"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:5000/111122223333/the-queue",
        "https://sqs.eu-west-1.example.com/111122223333/the-queue",
        "https://sqs.eu-west-1.amazonaws.com.example/111122223333/the-queue",
        "https://sqs.eu-west-1.notamazonaws.com/111122223333/the-queue",
        "https://amazonaws.com/eu-west-1",
        "https://[::1",
        "sqs.eu-west-1.amazonaws.com",
        "",
    ],
)
def test_an_address_of_another_store_has_no_region(url):
    assert region_of_url(url) is None
    assert not is_aws(url)


def test_a_region_of_another_partition_is_not_taken_from_a_host_name():
    assert region_of_url("https://sqs.cn-north-1.amazonaws.com/1/q") is None


def test_the_home_region_is_in_its_partition():
    for partition in partitions():
        assert partition_of(home_region(partition.name)) == partition.name
    assert home_region(None) == home_region("aws-moon") == "us-east-1"


@pytest.mark.parametrize("partition", partitions(), ids=lambda each: each.name)
def test_s3_of_each_partition_is_a_source_of_events(partition):
    """The reader of CloudTrail's records has its own list of domains."""
    assert is_s3_source(f"s3.{partition.dns_suffix}")
