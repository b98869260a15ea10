"""Add answers that are given again: to a repeated request, or from the response cache."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "saved_answers",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text()),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("answer", sa.LargeBinary()),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_saved_answers")),
    )
    op.create_index("ix_saved_answers_kind", "saved_answers", ["kind", "created_at"])
    op.create_index("ix_saved_answers_expires_at", "saved_answers", ["expires_at"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("saved_answers")
