"""Measurements as Prometheus' text exposition format 0.0.4 has them, and as JSON members."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sample:
    """One value and the labels that tell it from the others of its metric."""

    value: int
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """A gauge: its name, what it is, its samples."""

    name: str
    help: str
    samples: Sequence[Sample]


def exposition(metrics: Iterable[Metric]) -> str:
    """The text that Prometheus scrapes, or node_exporter's textfile collector reads; a metric without samples is left
    out.
    """
    return "".join(_lines(metric) for metric in metrics if metric.samples)


def metric_json(metric: Metric) -> dict[str, Any]:
    """A member of `result.metrics`."""
    samples = [{"labels": dict(sample.labels), "value": sample.value} for sample in metric.samples]
    return {"name": metric.name, "type": "gauge", "help": metric.help, "samples": samples}


def _lines(metric: Metric) -> str:
    head = f"# HELP {metric.name} {_escaped(metric.help)}\n# TYPE {metric.name} gauge\n"
    return head + "".join(f"{metric.name}{_labels(sample.labels)} {sample.value}\n" for sample in metric.samples)


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_quoted(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _quoted(value: str) -> str:
    return _escaped(value).replace('"', '\\"')


def _escaped(text: str) -> str:
    """The format is UTF-8: a byte of a file name that is none becomes U+FFFD."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text.replace("\\", "\\\\").replace("\n", "\\n")
