"""What health, logs and reports say about the continuous comparison."""

from jibe_sqs.telemetry.truth import Round, Truth


def test_before_the_first_round_nothing_is_known():
    truth = Truth()
    assert (truth.true_ratio, truth.oldest_check, truth.counts, truth.warnings) == (None, None, {}, [])


def test_the_first_round_counts_while_it_lasts():
    """Until all folders were compared once, there is no oldest check."""
    truth = Truth()
    truth.counted(Round(100.0, folders=2, objects=10, wrong=1), objects=10, wrong=1)
    assert truth.true_ratio == 0.9
    assert truth.oldest_check is None


def test_the_last_complete_round_counts_afterwards():
    truth = Truth()
    truth.last = Round(100.0, folders=9, objects=100, wrong=25, ended=200.0)
    truth.counted(Round(300.0, folders=1, objects=1), objects=1, wrong=0)
    assert (truth.true_ratio, truth.oldest_check) == (0.75, 100.0)
    assert truth.counts == {
        "folders": 1,
        "objects": 1,
        "wrong": 0,
        "unrepaired": 0,
        "true_ratio": 0.75,
        "oldest_check": 100,
    }


def test_an_index_with_more_wrong_files_than_objects_is_not_true_at_all():
    assert Round(1.0, objects=2, wrong=3).ratio == 0
    assert Round(1.0).ratio is None


def test_differences_that_stay_and_buckets_that_are_not_compared_are_warnings():
    truth = Truth()
    truth.last = Round(1.0, objects=10, wrong=3, ended=2.0)
    assert truth.warnings == []
    truth.last = Round(1.0, objects=10, wrong=3, unrepaired=2, ended=2.0)
    truth.not_compared("media", "AccessDenied: allow s3:ListBucket")
    assert truth.warnings == [
        "media is not compared with S3: AccessDenied: allow s3:ListBucket",
        "2 objects differ between S3 and Access Anywhere: a refresh did not repair them: run jibe-sqs compare",
    ]
    truth.compared("media")
    assert len(truth.warnings) == 1
