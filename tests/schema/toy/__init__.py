"""A Django project of its own, with none of PixSim's apps: the schema tool must work there too."""
