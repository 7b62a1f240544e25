"""Taking over databases that Alembic made. PixSim's own tables are data here."""
