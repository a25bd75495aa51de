"""The texts of a log file and of a folder, as errors, logs and `explain` show them."""

from jibe_sqs.core.model import Folder, LogFile


def test_a_log_file_is_shown_as_its_address():
    assert str(LogFile("logs", "a b/é.gz", "v1", "etag", 7)) == "s3://logs/a b/é.gz"


def test_a_folder_is_shown_as_its_path_and_a_tree_with_two_stars():
    assert [str(Folder("/S3/a")), str(Folder("/S3/a", tree=True)), str(Folder("/", tree=True))] == [
        "/S3/a",
        "/S3/a/**",
        "/**",
    ]
