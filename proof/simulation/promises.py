"""The promises of the service, checked at each delete and reject, and at the end."""

from jibe_sqs.core.errors import TRANSIENT, JibeError
from jibe_sqs.core.model import Message, Reject
from jibe_sqs.sweeping.sweep_queue import MAX_RECEIVES
from proof.simulation.ledger import Disk
from proof.simulation.settings import Settings
from proof.simulation.sqs import LONGEST_HOLD, Sqs, Stored
from proof.simulation.storage import Event, File
from proof.simulation.world import World


class Promises:
    """The promises of one process. `disk`: the disk of its ledger. `settings`: None if they cannot be wrong."""

    def __init__(self, world: World, disk: Disk, settings: Settings | None) -> None:
        self._world = world
        self._disk = disk
        self._settings = settings
        self._rules = settings.fingerprint.short if settings else ""

    def check_delete(self, sqs: Sqs, id_: str) -> None:
        """Check that a message may be deleted."""
        announcement = sqs.announcements[id_]
        if id_ in sqs.dead_letters:
            return
        self._require(
            not any(self._reads(file) for file in announcement.files if file.is_refused) and announcement.is_readable,
            "a message that can never be done is dead-lettered before it is deleted",
            id_,
        )
        self._require_done(announcement.events, announcement.files, id_)

    def check_sweep_delete(self, key: str) -> None:
        """Check that a swept file may be deleted from the sweep queue."""
        file = self._world.storage.files[key]
        if file.is_rejected:
            return
        self._world.judge.record("swept", key)
        self._require_done(file.events, [file], key)

    def check_reject(self, sqs: Sqs, message: Message, why: Reject) -> None:
        """Check that a message may be rejected."""
        if why.error in ("LogAccessDenied", "LogStoreUnavailable", "LogBucketDown"):
            self._world.outages.check_reject(sqs.messages.get(message.id))
        is_spent = sqs.max_receives is not None and message.receive_count >= sqs.max_receives
        is_permanent = sqs.announcements[message.id].must_be_rejected and _is_permanent(why.error)
        self._require(is_spent or is_permanent, "rejected without a reason", message.id, why.error)

    def check_sweep_reject(self, key: str, message: Message, why: Reject) -> None:
        """Check that a swept file may be rejected."""
        file = self._world.storage.files[key]
        file.is_rejected = True
        is_spent = message.receive_count >= MAX_RECEIVES
        is_permanent = file.is_refused and _is_permanent(why.error)
        self._require(is_spent or is_permanent, "rejected without a reason", message.id, why.error)

    def _require_done(self, events: list[Event], files: list[File], id_: str) -> None:
        settings, configuration = self._settings, self._world.configuration
        skipped = [event for event in events if settings and not self._reads_record(event)]
        if skipped and settings and configuration:
            self._world.judge.record("skipped by mistake", *(event.id for event in skipped))
            configuration.owe(skipped, settings.mistakes)
        index = self._world.index
        for event in events:
            if event.moment < index.synced_at or event in skipped:
                continue
            if event.moment < index.listed_at:
                self._world.unlisted[event] = None
                continue
            if self._world.batch and event.key:
                self._require(event.is_reported, "deleted before its change was reported", id_, event.id)
            else:
                is_refreshed = index.succeeded[event.folder] >= event.moment
                promise = "deleted before a refresh that began after the event"
                self._require(is_refreshed, promise, id_, event.folder)
        for file in files:
            is_settled = (file.key, self._rules) in self._disk.settled or not self._reads(file)
            self._require(is_settled, "deleted before its file was finished", id_, file.key)

    def _reads(self, file: File) -> bool:
        return self._settings is None or self._settings.reads(file)

    def _reads_record(self, event: Event) -> bool:
        if self._settings is None:
            return True
        file = self._world.storage.files.get(event.source)
        return not self._settings.skips(event) and (file is None or self._reads(file))

    def _require(self, holds: bool, promise: str, *details: object) -> None:
        self._world.judge.require(holds, promise, *details)


def check_again(world: World, sqs: Sqs, stored: Stored, is_redriven: bool) -> None:
    """Check that a message may be received again now, or be a dead letter because it was received too often."""
    world.outages.check_again(stored, is_redriven=is_redriven)
    if world.pause:
        world.pause.check_again(world.judge, stored)
    if not is_redriven:
        return
    # The service rejects a message at its last receive, with a reason.
    lasted = world.loop.time() - stored.received_at
    has_reason = stored.is_cut_short or not sqs.takes_dead_letters or lasted >= LONGEST_HOLD
    world.judge.require(has_reason, "a dead letter without a reason", stored.id, lasted)


def check_end(world: World) -> None:
    """Check that every announced or swept event was read after it happened, and that the index equals storage.

    Folders of rejected messages may differ.
    """
    done: dict[Event, str] = {}
    given_up: set[Event] = set()
    # Nothing of this is shown, and its messages are deleted all the same.
    unshown = set(world.configuration.beyond_repair) if world.configuration else set[Event]()
    for sqs in world.queues:
        for id_, announcement in sqs.announcements.items():
            if id_ in sqs.dead_letters:
                given_up.update(announcement.events)
            else:
                done.update(dict.fromkeys(announcement.events, id_))
                # Only wrong settings delete a message of such a file.
                unshown.update(event for file in announcement.files if file.is_refused for event in file.events)
    if world.sweeping:
        for file in world.storage.files.values():
            if file.is_rejected:
                given_up.update(file.events)
            else:
                done.update(dict.fromkeys(file.events, file.key))
    index, storage, require = world.index, world.storage, world.judge.require
    given_up |= unshown
    done = {event: id_ for event, id_ in done.items() if event not in unshown}
    for event, id_ in done.items():
        require(is_shown(world, event), "read after the last event", id_, event.id, event.folder)
    unsure = {path for event in given_up - done.keys() for path in storage.paths_of(event.folder)}
    for path, objects in storage.folders.items():
        shown = index.shown.get(path, {})
        require(path in unsure or shown == objects, "in the end the index equals storage", path, shown, objects)


def is_shown(world: World, event: Event) -> bool:
    """Whether everything that a change made stale was read after it."""
    read_at = world.index.read_at
    of_key = read_at.get(event.key, 0) if world.batch else 0
    return all(max(read_at.get(path, 0), of_key) > event.moment for path in world.storage.paths_of(event.folder))


def _is_permanent(name: str) -> bool:
    classes = [JibeError]
    for each in classes:
        classes += each.__subclasses__()
    return any(each.__name__ == name and each.disposition is not TRANSIENT for each in classes)
