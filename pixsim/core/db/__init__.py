"""Building blocks of the schema: names, expressions and migration operations."""
