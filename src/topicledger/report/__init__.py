"""The report of a batch: a table for the task log, a JSON document and a page for people.

It only shows what it is given: nothing is counted, nothing is asked of Kafka or of a warehouse.
"""

from topicledger.report.files import ReportPaths, write_report
from topicledger.report.text import accounts_table

__all__ = ["ReportPaths", "accounts_table", "write_report"]
