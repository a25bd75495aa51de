"""The alert rules as an object of the Prometheus operator. From the root of the repository: `python -m infra.kubernetes.rules`."""

from pathlib import Path
from typing import Final

INFRA: Final = Path(__file__).parents[1]
ALERTS: Final = INFRA / "prometheus" / "alerts.yaml"
RULES: Final = INFRA / "kubernetes" / "components" / "monitoring" / "rules.yaml"
HEAD: Final = """\
# Made of infra/prometheus/alerts.yaml: python -m infra.kubernetes.rules
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: jibe-sqs
  labels:
    app.kubernetes.io/name: jibe-sqs
spec:
"""


def rules() -> str:
    """The object as YAML: the lines of alerts.yaml, two spaces to the right."""
    lines = [line for line in ALERTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return HEAD + "".join(f"  {line}\n" if line else "\n" for line in lines)


if __name__ == "__main__":
    RULES.write_text(rules(), encoding="utf-8")
