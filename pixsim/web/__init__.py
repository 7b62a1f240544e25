"""What stands between untrusted requests and the site: limits of bodies, bad bytes, and the server's times."""
