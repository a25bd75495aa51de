"""What is promised, by the model's truth: of each wish to delete or to reject, and in the end."""

from jibe_sqs.core.errors import TRANSIENT, JibeError
from jibe_sqs.core.model import Message, Reject
from jibe_sqs.sweeping.sweep_queue import MAX_RECEIVES
from proof.simulation.ledger import Disk
from proof.simulation.sqs import Sqs
from proof.simulation.storage import Event, File
from proof.simulation.world import World


class Promises:
    """Of one replica. `disk`: its ledger's."""

    def __init__(self, world: World, disk: Disk) -> None:
        self._world = world
        self._disk = disk

    def may_delete(self, sqs: Sqs, id_: str) -> None:
        """A message."""
        told = sqs.told[id_]
        if id_ in sqs.dead:
            return
        self._demand(not told.is_hopeless, "a message that cannot be done is dead-lettered before it is deleted", id_)
        self._demand_done(told.events, told.files, id_)

    def may_drop(self, key: str) -> None:
        """A sweep's finding."""
        file = self._world.storage.files[key]
        if file.is_given_up:
            return
        self._world.judge.saw("swept", key)
        self._demand_done(file.events, [file], key)

    def may_reject(self, sqs: Sqs, message: Message, why: Reject) -> None:
        """A message."""
        is_spent = sqs.max_receives is not None and message.receive_count >= sqs.max_receives
        is_permanent = sqs.told[message.id].is_hopeless and _is_permanent(why.error)
        self._demand(is_spent or is_permanent, "rejected without a reason", message.id, why.error)

    def may_give_up(self, key: str, message: Message, why: Reject) -> None:
        """A sweep's finding."""
        file = self._world.storage.files[key]
        file.is_given_up = True
        is_spent = message.receive_count >= MAX_RECEIVES
        is_permanent = file.is_refused and _is_permanent(why.error)
        self._demand(is_spent or is_permanent, "rejected without a reason", message.id, why.error)

    def _demand_done(self, events: list[Event], files: list[File], id_: str) -> None:
        for event in events:
            if event.moment < self._world.index.synced_at:
                continue
            if self._world.batch and event.key:
                self._demand(event.is_told, "deleted before its change was told", id_, event.id)
            else:
                is_refreshed = self._world.index.succeeded[event.folder] >= event.moment
                promise = "deleted before a refresh that began after the event"
                self._demand(is_refreshed, promise, id_, event.folder)
        for file in files:
            self._demand(file.key in self._disk.settled, "deleted before its file was finished", id_, file.key)

    def _demand(self, holds: bool, promise: str, *details: object) -> None:
        self._world.judge.demand(holds, promise, *details)


def judge_end(world: World) -> None:
    """Whatever was told, or found, was read after it happened; and the index is true but for what was given up."""
    done: dict[Event, str] = {}
    given_up: set[Event] = set()
    for sqs in world.queues:
        for id_, told in sqs.told.items():
            if id_ in sqs.dead:
                given_up.update(told.events)
            else:
                done.update(dict.fromkeys(told.events, id_))
    if world.sweeping:
        for file in world.storage.files.values():
            if file.is_given_up:
                given_up.update(file.events)
            else:
                done.update(dict.fromkeys(file.events, file.key))
    index, storage, demand = world.index, world.storage, world.judge.demand
    for event, id_ in done.items():
        for path in storage.below(event.folder):
            read_at = max(index.read_at.get(path, 0), index.read_at.get(event.key, 0) if world.batch else 0)
            demand(read_at > event.moment, "read after the last event", id_, path)
    unsure = {path for event in given_up - done.keys() for path in storage.below(event.folder)}
    for path, objects in storage.folders.items():
        shown = index.shown.get(path, {})
        demand(path in unsure or shown == objects, "in the end the index is true", path, shown, objects)


def _is_permanent(name: str) -> bool:
    classes = [JibeError]
    for each in classes:
        classes += each.__subclasses__()
    return any(each.__name__ == name and each.disposition is not TRANSIENT for each in classes)
