"""Random damage to what strangers send, for each parser in its real process."""
