"""`make demo`: a small web site with every kind of trouble, and a real crawl of it."""
