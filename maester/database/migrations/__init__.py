"""Alembic's environment and the migrations, from the first schema to the present one."""
