"""Random damage to untrusted files, for each parser in its real process."""
