"""The targets of the fuzzer. Each takes one input, and checks the promises that the answer must keep.

Any other error than the promised one is a crash. Input that is read in chunks is read twice: as a whole, and cut in two
at a place that depends on the input. Both must give the same records, or the same class of error. A few inputs are
stretched: a part is repeated until the input has some megabytes. Reading it must stay within a limit of memory that does
not depend on its length.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from jibe_sqs.core.formats.format import Format
from proof.fuzz.compression import decompressed, recompressed
from proof.fuzz.digests import digest
from proof.fuzz.logs import log
from proof.fuzz.messages import announcement

TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "announcements": announcement,
    **{format_.value: partial(log, format_) for format_ in Format},
    "decompressed": decompressed,
    "recompressed": recompressed,
    "digests": digest,
}
