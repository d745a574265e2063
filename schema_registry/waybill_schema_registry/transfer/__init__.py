"""A registry's contents as Confluent keeps them: the records of its topic `_schemas`, read from a dump of it or written as one.

Ids, versions, what is softly deleted, configs and modes stay as they are. An import is checked wholly before anything is
written, and is one commit; doing it twice is doing it once.
"""

from waybill_schema_registry.transfer.exporting import export_records
from waybill_schema_registry.transfer.importing import Imported, import_dump
from waybill_schema_registry.transfer.records import FORMS, Record, read_line, written

__all__ = ["FORMS", "Imported", "Record", "export_records", "import_dump", "read_line", "written"]
