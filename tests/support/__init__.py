"""Support for the tests: a Ray cluster, S3 servers, the command line, and references."""
