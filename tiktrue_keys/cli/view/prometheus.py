"""Measurements in the Prometheus text exposition format 0.0.4, and as JSON members."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sample:
    """One value, with the labels that distinguish it within its metric."""

    value: int
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """A gauge: its name, its description and its samples."""

    name: str
    help: str
    samples: Sequence[Sample]


def exposition(metrics: Iterable[Metric]) -> str:
    """Return the text for Prometheus or for node_exporter's textfile collector; without samples a metric is omitted."""
    return "".join(_lines(metric) for metric in metrics if metric.samples)


def metric_json(metric: Metric) -> dict[str, Any]:
    """Return a member of `result.metrics`."""
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
    """Return the text as UTF-8; an undecodable byte of a file name becomes U+FFFD."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text.replace("\\", "\\\\").replace("\n", "\\n")
