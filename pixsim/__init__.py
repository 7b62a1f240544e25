"""PixSim: crawl pictures into datasets, generate pictures through providers."""
