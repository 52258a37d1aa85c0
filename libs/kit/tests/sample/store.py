"""Tables of the sample service."""

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from kit.db import TenantMixin, declarative_base

Base = declarative_base()


class NoteRow(TenantMixin, Base):
    __tablename__ = "notes"
    note_id: Mapped[str] = mapped_column(primary_key=True)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
