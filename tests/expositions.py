"""The text of `/metrics`, as Prometheus reads it."""

from prometheus_client.parser import text_string_to_metric_families

from jibe_sqs.telemetry.exposition import exposition


def parsed(text):
    """The value of each series, by its name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def shown(samples):
    return parsed(exposition(samples)[0])


def value(series, name, **labels):
    return series[name, *sorted(labels.items())]
