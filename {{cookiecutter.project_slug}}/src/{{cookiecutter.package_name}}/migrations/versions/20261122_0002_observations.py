"""Keep the observations of the problem (problem.py)."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "observations",
        sa.Column("date", sa.Date(), primary_key=True),
        sa.Column("precipitation", sa.Float(), nullable=False),
        sa.Column("temp_max", sa.Float(), nullable=False),
        sa.Column("temp_min", sa.Float(), nullable=False),
        sa.Column("wind", sa.Float(), nullable=False),
        sa.Column("weather", sa.String(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("observations")
