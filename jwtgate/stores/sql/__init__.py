"""Stores and journals in an SQL database, through SQLAlchemy Core (the extra ``sql``)."""
