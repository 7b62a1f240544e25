"""What stands between untrusted requests and the site: limits of bodies, bad bytes, the server's times."""
