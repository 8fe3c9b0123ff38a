"""The descriptions of the metrics, one module per family, without their implementations."""
