"""What the import service does: keep a file, read it, ask, apply it to the ledger in resumable chunks, remember its
layout.

States: UPLOADED -> READING -> QUESTIONS | PREVIEWED -> APPLYING -> APPLIED; FAILED and CANCELLED end it. Each reading
and each appliance has a number (`round`, `apply_round`) that makes its job; a job whose number is no longer the batch's
changes nothing.
"""

from importer.usecases.applying import apply_import
from importer.usecases.deciding import answer_import, cancel_import
from importer.usecases.effects import effects_csv, effects_of
from importer.usecases.planning import plan_import
from importer.usecases.profiles import (
    ProfileDraft,
    create_profile,
    delete_profile,
    profile_at,
    try_profile,
    update_profile,
    version_as_profile,
)
from importer.usecases.pulling import plan_pulls, pull_source
from importer.usecases.reading import read_import
from importer.usecases.rejecting import rejects_csv
from importer.usecases.reporting import report_import
from importer.usecases.rolling_back import give_up_roll_back, roll_back, roll_back_import
from importer.usecases.sources import (
    Secrets,
    SourceDraft,
    create_source,
    delete_source,
    find_source,
    fingerprint_of,
    pull_now,
    replace_access,
    update_source,
)
from importer.usecases.state import fail, find
from importer.usecases.uploading import Upload, entity_currency, start_import
from importer.usecases.uploads import (
    append_upload,
    create_upload,
    delete_upload,
    find_stream,
    find_upload,
    finish_stream,
    keep_batch,
    keep_import,
    open_stream,
    start_upload,
    sweep_uploads,
)

__all__ = [
    "ProfileDraft",
    "Secrets",
    "SourceDraft",
    "Upload",
    "answer_import",
    "append_upload",
    "apply_import",
    "cancel_import",
    "create_profile",
    "create_source",
    "create_upload",
    "delete_profile",
    "delete_source",
    "delete_upload",
    "effects_csv",
    "effects_of",
    "entity_currency",
    "fail",
    "find",
    "find_source",
    "find_stream",
    "find_upload",
    "fingerprint_of",
    "finish_stream",
    "give_up_roll_back",
    "keep_batch",
    "keep_import",
    "open_stream",
    "plan_import",
    "plan_pulls",
    "profile_at",
    "pull_now",
    "pull_source",
    "read_import",
    "rejects_csv",
    "replace_access",
    "report_import",
    "roll_back",
    "roll_back_import",
    "start_import",
    "start_upload",
    "sweep_uploads",
    "try_profile",
    "update_profile",
    "update_source",
    "version_as_profile",
]
