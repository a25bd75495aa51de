"""One HTTP port for orchestrators, Prometheus and people: the probes, the metrics and the status page.

`server` routes requests, `connections` limits clients, `listening` opens the port. `page` renders a snapshot: `sections`
decides what is shown, `charts` and `words` how.
"""

from jibe_sqs.adapters.web.login import Login
from jibe_sqs.adapters.web.server import Sources, http_server

__all__ = ["Login", "Sources", "http_server"]
