"""Object events for tests of decisions and plans."""

from jibe_sqs.core.decisions import Decisions, OwnWrite, OwnWrites, Place
from jibe_sqs.core.model import Actor, Kind, ObjectEvent, Refresh

BUCKET = "photos"
ANN = "arn:aws:iam::111122223333:user/ann"
ROLE = "arn:aws:iam::111122223333:role/access-anywhere"
SESSION = "arn:aws:sts::111122223333:assumed-role/access-anywhere/i-0123"
ANN_ACTOR = Actor(ANN, "AKIA1", ROLE, "192.0.2.7", "aws-cli/2.15 [x]")
UNKNOWN_ACTOR = Actor()


def event(key: str = "a/b.txt", kind: Kind = Kind.WRITTEN, *, bucket: str = BUCKET, **fields) -> ObjectEvent:
    return ObjectEvent(kind, bucket, key, **{"time": 1000.0, **fields})


def folders(key: str, *places: Place, kind: Kind = Kind.WRITTEN) -> list[str]:
    """The stale folders of a key as text, with `/**` after a tree. Without places, the defaults without settings."""
    decision = Decisions({BUCKET: places} if places else None).decide(event(key, kind))
    return [str(folder) for folder in decision.folders] if isinstance(decision, Refresh) else []


def is_own(actor: Actor, **own) -> bool:
    decision = Decisions(own=OwnWrites(**own)).decide(event(actor=actor))
    return isinstance(decision, OwnWrite)
