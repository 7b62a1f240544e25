"""What stands between strangers and the site: limits of bodies, bad bytes, and the server's times."""
