"""What the import service does: keep a file, read it, ask, apply it to the ledger in resumable chunks, remember its
layout.

States: UPLOADED -> READING -> QUESTIONS | PREVIEWED -> APPLYING -> APPLIED; FAILED and CANCELLED end it. Each reading
and each appliance has a number (`round`, `apply_round`) that makes its job; a job whose number is no longer the batch's
changes nothing.
"""

from importer.usecases.applying import apply_import
from importer.usecases.deciding import answer_import, cancel_import
from importer.usecases.reading import read_import
from importer.usecases.rejecting import rejects_csv
from importer.usecases.state import fail, find
from importer.usecases.uploading import Upload, start_import

__all__ = [
    "Upload",
    "answer_import",
    "apply_import",
    "cancel_import",
    "fail",
    "find",
    "read_import",
    "rejects_csv",
    "start_import",
]
