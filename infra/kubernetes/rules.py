"""The alert rules as an object of the Prometheus operator, and for the Helm chart, which reads only files of its own folder.

From the root of the repository: `python -m infra.kubernetes.rules`.
"""

from pathlib import Path
from typing import Final

INFRA: Final = Path(__file__).parents[1]
ALERTS: Final = INFRA / "prometheus" / "alerts.yaml"
RULES: Final = INFRA / "kubernetes" / "components" / "monitoring" / "rules.yaml"
CHART: Final = INFRA / "helm" / "jibe-sqs" / "files" / "alerts.yaml"
COPY: Final = "# Made of infra/prometheus/alerts.yaml: python -m infra.kubernetes.rules\n"
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
    return HEAD + "".join(f"  {line}\n" if line else "\n" for line in _lines())


def chart_rules() -> str:
    """The file of the chart."""
    return COPY + "".join(f"{line}\n" for line in _lines())


def _lines() -> list[str]:
    return [line for line in ALERTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


if __name__ == "__main__":
    RULES.write_text(rules(), encoding="utf-8")
    CHART.write_text(chart_rules(), encoding="utf-8")
