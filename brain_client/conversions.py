"""Turns an answer about conversion into rows: a total, or one for each point, group, or point of a group."""

from collections.abc import Iterable, Iterator

from brain.events.v1.conversion_pb2 import ConversionPoint, ConversionRate, GetConversionRateResponse

from brain_client.tables import Row, instant


def rows(answer: GetConversionRateResponse) -> list[Row]:
    """Return what was asked for; groups behind the last one shown come as one row, marked `rest`."""
    if answer.group_count:
        return list(_groups(answer))
    if answer.points:
        return list(_points(answer.points, answer.time_zone))
    return [{**_rate(answer.total), "complete": answer.complete}]


def _groups(answer: GetConversionRateResponse) -> Iterator[Row]:
    for group in answer.groups:
        name = {"group": group.group if group.HasField("group") else None}
        if group.points:
            yield from ({**name, **row} for row in _points(group.points, answer.time_zone))
        else:
            yield {**name, **_rate(group.rate)}
    if answer.HasField("rest"):
        yield {"group": None, **_rate(answer.rest), "rest": True}


def _points(points: Iterable[ConversionPoint], time_zone: str) -> Iterator[Row]:
    for point in points:
        start = instant(point.start_time, time_zone)
        yield {"start": start, **_rate(point.rate), "complete": point.complete}


def _rate(rate: ConversionRate) -> Row:
    """Return the numbers, None where one is not defined."""
    return {
        "starters": rate.starters,
        "converters": rate.converters,
        "conversion_ratio": rate.conversion_ratio if rate.HasField("conversion_ratio") else None,
        "median_seconds": rate.median_seconds if rate.HasField("median_seconds") else None,
        "mean_seconds": rate.mean_seconds if rate.HasField("mean_seconds") else None,
        "open_entries": rate.open_entries,
    }
