"""`jibe-sqs compare` as a process, and a service that compares, on the sandbox's AWS and Access Anywhere."""

import csv
import gzip
import io
import json
import time
from pathlib import Path
from urllib.parse import quote_plus

import httpx
import pytest
from tests.processes import PATIENCE

from jibe_sqs.sandbox.aws.deployment import client

BUCKET = "jibe-sandbox-us-east-1-media"
REGION = "us-east-1"
HOUR = 3600.0


@pytest.fixture(scope="module")
def folder(sandbox):
    """A folder of a bucket, which Access Anywhere does not show yet."""
    s3 = client(sandbox["aws"], "s3", REGION)
    for key in ("a.txt", "x/b.txt", "x/y/c.txt", "x/y/d.txt", "x//odd.txt", "marked/"):
        s3.put_object(Bucket=BUCKET, Key=f"compare/{key}", Body=b"four" if not key.endswith("/") else b"")
    return f"{BUCKET}/compare"


@pytest.fixture
def compare(jibe, sandbox):
    """Runs the command with the sandbox's configuration. Returns the exit code and its JSON object."""

    def run(*arguments):
        done = jibe("compare", *arguments, "--json", "--config", sandbox["config"], **sandbox["environment"])
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


def plant(sandbox, *changes):
    """Make the index wrong."""
    wrong = [{"bucket": BUCKET, **change} for change in changes]
    httpx.put(f"{sandbox['access_anywhere']}/sandbox/index", json=wrong, timeout=PATIENCE).raise_for_status()


def plant_four(sandbox):
    plant(
        sandbox,
        {"key": "compare/a.txt"},
        {"key": "compare/x/b.txt", "size": 7, "modified": time.time() - HOUR},
        {"key": "compare/x/y/c.txt", "size": 4, "modified": time.time() - HOUR},
        {"key": "compare/x/y/gone.txt", "size": 1, "modified": time.time() - HOUR},
    )


def counts(found):
    return {kind: found[kind] for kind in ("missing", "stale", "extra", "unshowable", "repaired") if found[kind]}


def test_a_folder_is_compared_and_repaired(compare, sandbox, folder):
    """First nothing of it is shown; then four things are shown wrong; at last it is in sync."""
    code, found = compare(folder)
    assert (code, found["in_sync"], counts(found)) == (1, False, {"missing": 4, "unshowable": 1})
    assert found["objects"] == 5

    code, found = compare(folder, "--repair")
    assert (code, found["in_sync"], counts(found)) == (0, True, {"unshowable": 1, "repaired": 4})

    plant_four(sandbox)
    code, found = compare(folder)
    assert (code, counts(found)) == (1, {"missing": 1, "stale": 2, "extra": 1, "unshowable": 1})
    assert {(each["kind"], each["key"]) for each in found["examples"]} == {
        ("missing", "compare/a.txt"),
        ("stale", "compare/x/b.txt"),
        ("stale", "compare/x/y/c.txt"),
        ("extra", "compare/x/y/gone.txt"),
        ("unshowable", "compare/x//odd.txt"),
    }
    code, found = compare(f"s3://{folder}/x/y", "--repair")
    assert (code, counts(found)) == (0, {"repaired": 2})
    code, found = compare(folder, "--repair")
    assert (code, counts(found)) == (0, {"unshowable": 1, "repaired": 2})


def test_the_same_from_an_inventory(compare, sandbox, folder):
    """What was deleted since the inventory was made is no difference."""
    s3 = client(sandbox["aws"], "s3", REGION)
    compare(folder, "--repair")
    text = io.StringIO()
    rows = csv.writer(text, quoting=csv.QUOTE_ALL)
    modified = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    for key in ("a.txt", "x/b.txt", "x/y/c.txt", "x/y/d.txt", "x//odd.txt", "marked/", "x/y/deleted.txt"):
        rows.writerow([BUCKET, quote_plus(f"compare/{key}"), 0 if key.endswith("/") else 4, modified])
    s3.create_bucket(Bucket="compare-reports")
    s3.put_object(Bucket="compare-reports", Key="data.csv.gz", Body=gzip.compress(text.getvalue().encode()))
    manifest = {
        "sourceBucket": BUCKET,
        "destinationBucket": "arn:aws:s3:::compare-reports",
        "creationTimestamp": str(int(time.time() * 1000)),
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key, Size, LastModifiedDate",
        "files": [{"key": "data.csv.gz"}],
    }
    s3.put_object(Bucket="compare-reports", Key="daily/manifest.json", Body=json.dumps(manifest).encode())
    address = "s3://compare-reports/daily/manifest.json"
    code, found = compare(folder, "--inventory", address)
    assert (code, counts(found)) == (0, {"unshowable": 1})
    plant_four(sandbox)
    code, found = compare(folder, "--inventory", address, "--repair")
    assert (code, counts(found)) == (0, {"unshowable": 1, "repaired": 4})


def test_its_text_fits_into_80_columns(jibe, sandbox, folder):
    plant(sandbox, {"key": "compare/x/y/gone.txt", "size": 1, "modified": time.time() - HOUR})
    done = jibe("compare", folder, "--config", sandbox["config"], **sandbox["environment"])
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["folder", "objects", "missing", "stale", "extra", "unshowable"]
    assert "  extra       s3://jibe-sandbox-us-east-1-media/compare/x/y/gone.txt" in lines
    assert lines[-1].startswith("NOT IN SYNC: ")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["no-such-bucket"], "Access Anywhere shows no bucket 'no-such-bucket'"),
        ([f"{BUCKET}/no/such/folder"], "neither S3 nor Access Anywhere has the folder"),
        (["--sample", "2%", "--ignore-newer", "soon"], "not a duration"),
        (["--sample", "200%"], "--sample must be a share"),
        (["--inventory", "manifest.json"], "--inventory must be the address of a manifest"),
    ],
)
def test_a_wrong_use_is_said_and_is_no_difference(jibe, sandbox, arguments, reason):
    done = jibe("compare", *arguments, "--config", sandbox["config"], **sandbox["environment"])
    assert done.returncode == 2
    assert reason in " ".join(done.stderr.replace("│", " ").split())


def test_also_an_error_is_one_json_object_and_no_true_index(jibe, sandbox, tmp_path):
    settings = json.loads(Path(sandbox["config"]).read_text(encoding="utf-8"))
    config = tmp_path / "wrong.json"
    config.write_text(json.dumps(settings | {"buckets": {BUCKET: "/no/such/folder"}}))
    done = jibe("compare", BUCKET, "--json", "--config", str(config), **sandbox["environment"])
    found = json.loads(done.stdout)
    assert (done.returncode, found["in_sync"], found["failed"]) == (1, False, 1)
    assert "/no/such/folder" in found["failures"][0]["reason"]


def test_a_service_compares_and_repairs_by_itself(small_service, sandbox, folder):
    """Its progress lines show the share of objects that were right."""
    settings = json.loads(small_service.config.read_text())
    shown = Path(sandbox["config"]).read_text(encoding="utf-8")
    place = json.loads(shown)["buckets"][BUCKET]
    path = (place[0] if isinstance(place, list) else place) if isinstance(place, str | list) else place
    path = path if isinstance(path, str) else path["folder"]
    settings |= {
        "buckets": {BUCKET: {"folder": f"{path}/compare", "prefix": "compare/"}},
        "compare": {"every": "60s"},
        "progress_interval": 1,
    }
    small_service.config.write_text(json.dumps(settings))
    plant(sandbox, {"key": "compare/x/y/gone.txt", "size": 1, "modified": time.time() - HOUR})
    with small_service.started() as running:
        differed = running.wait_for("folder_differed", repaired=1)
        assert differed["examples"] == []
        finished = running.wait_for("comparison_finished")
        assert (finished["wrong"], finished["unrepaired"], finished["failed"]) == (1, 0, 0)
        assert finished["true_ratio"] == pytest.approx(1 - 1 / finished["objects"])
        running.wait_for("progress")
        assert running.stop() == 0
        last = running.events("stopped")[-1]["compared"]
        assert last["true_ratio"] == pytest.approx(finished["true_ratio"], abs=1e-5)
    index = httpx.get(f"{sandbox['access_anywhere']}/sandbox/index", timeout=PATIENCE).json()
    assert not [file for file in index if file["key"] == "compare/x/y/gone.txt"]
