"""Whose calendar the roll-ups by day follow: chosen once, as folded days cannot change their edges."""

import logging
import time
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from shared.database import translate
from shared.errors import FailedPrecondition, ServiceError, Unavailable

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from sqlalchemy import Engine

_log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0

_KEEP = text("""
UPDATE rollup_state SET reporting_time_zone = coalesce(reporting_time_zone, :zone)
RETURNING reporting_time_zone
""")


def keep_reporting_zone(engine: "Engine", zone: "ZoneInfo") -> None:
    """Keep the reporting zone with the data; waits for a database that is away.

    Raises:
        FailedPrecondition: the data follow another zone.

    """
    told = None
    while isinstance(kept := _kept(engine, zone), Unavailable):
        if kept.reason != told:  # the transition, not every failure of an outage
            told = kept.reason
            _log.warning("waiting for the database", extra={"reason": told, "cause": kept.message})
        time.sleep(RETRY_SECONDS)
    if kept != zone.key:
        message = f"the days of this database are those of {kept}: set reporting_time_zone to it"
        raise FailedPrecondition(message, "REPORTING_ZONE_FIXED")


def _kept(engine: "Engine", zone: "ZoneInfo") -> str | Unavailable:
    try:
        with engine.begin() as connection:
            kept: str = connection.execute(_KEEP, {"zone": zone.key}).scalar_one()
    except (SQLAlchemyError, ServiceError) as error:
        known = error if isinstance(error, ServiceError) else translate(error)
        if not isinstance(known, Unavailable):
            raise
        return known
    return kept
