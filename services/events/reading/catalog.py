"""Every metric of events by name, whichever subject it belongs to."""

from services.events.reading import metrics, money_metrics, saved_metric, session_metrics

METRICS = {
    metric.name: metric
    for metric in (
        *metrics.METRICS.values(),
        *session_metrics.METRICS,
        *money_metrics.METRICS,
        *saved_metric.METRICS,
    )
}
