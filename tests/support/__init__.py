"""Real processes for the tests: a Ray cluster, S3 servers and the command line."""
