"""What travels: readings of thermometers, to those who store them, in batches or one by one."""

from dataclasses import dataclass
from datetime import datetime

from waybill import Topic

__all__ = ["Reading", "readings"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a sensor has measured. The sensor and the time name it: a sensor that is not sure sends it again."""

    sensor: str
    at: datetime
    celsius: float


readings = Topic("readings", Reading, groups=["batches", "one-by-one"])
