"""Whose calendar the roll-ups by day follow: chosen once, as folded days cannot change their edges."""

from typing import TYPE_CHECKING

from sqlalchemy import text

from shared.errors import FailedPrecondition

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from sqlalchemy import Engine

_KEEP = text("""
UPDATE rollup_state SET reporting_time_zone = coalesce(reporting_time_zone, :zone)
RETURNING reporting_time_zone
""")


def keep_reporting_zone(engine: "Engine", zone: "ZoneInfo") -> None:
    """Keep the reporting zone with the data.

    Raises:
        FailedPrecondition: the data follow another zone.

    """
    with engine.begin() as connection:
        kept = connection.execute(_KEEP, {"zone": zone.key}).scalar_one()
    if kept != zone.key:
        message = f"the days of this database are those of {kept}: set reporting_time_zone to it"
        raise FailedPrecondition(message, "REPORTING_ZONE_FIXED")
