"""From bytes to a table of text: which format a file has, its header and rows, and what is refused before any row is
looked at.

Every cell stays text exactly as written (leading zeros, signs, blanks inside), with its line of the file, so that a
later refusal can name it. Only numbers that a spreadsheet stores as numbers are rewritten, and only without loss.
"""

from importer.domain.reading.read import read_table
from importer.domain.reading.table import FILE_LIMIT_BYTES, Document, RawTable

__all__ = ["FILE_LIMIT_BYTES", "Document", "RawTable", "read_table"]
