"""The processes of the sample service."""

import os

from kit.jobs import Every
from kit.process import ServiceDefinition, main
from sample.config import Settings
from sample.store import Base, NoteRow


def note(job):
    """Writes down that the job ran."""
    with job.database.transaction() as session:
        job.fence(session)
        session.add(NoteRow(note_id=job.payload["note"], amount_minor=os.getpid()))


def swept(job):
    """Writes down that the schedule's slot came."""
    with job.database.transaction() as session:
        session.add(NoteRow(note_id=f"slot {job.payload['slot']}", amount_minor=job.attempt))


DEFINITION = ServiceDefinition(
    name="sample-one",
    settings=Settings,
    metadata=Base.metadata,
    jobs={"sample.note": note},
    schedules={"sample.sweep": Every(3600, swept)},
)

if __name__ == "__main__":
    main(DEFINITION)
