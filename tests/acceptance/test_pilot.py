"""A dry run that does not acknowledge takes no message away from its queue."""

from tests.processes import eventually


def test_a_pilot_leaves_done_and_rejected_messages_in_its_queue(small_service):
    small_service.set_max_receives(1000)
    small_service.configure(
        sync={"strategy": "dry-run", "acknowledge": False}, retry={"first": 1, "longest": 1}, progress_interval=1
    )
    with small_service.started() as running:
        small_service.announce_change()
        small_service.send("no JSON")
        running.wait_for("would_refresh")
        running.wait_for("message_rejected", dead_lettered=False)
        assert running.wait_for("dry_run_uses_up_receives")["max_receives"] == 1000
        # The same message is received again, and its log file is not read again.
        eventually(lambda: running.events("file_known"), "the second receive")
        assert len(running.events("file_read")) == 1
        assert "visible again" in running.wait_for("dry_run")["consequence"]
        assert not running.events("no_dead_letters")
        assert running.stop() == 0
    assert (small_service.messages(), small_service.dead_letters()) == (2, 0)
