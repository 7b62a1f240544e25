"""`make demo`: a small web site with every kind of trouble, a real crawl of it, and three generations."""
