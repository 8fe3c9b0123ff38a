"""The descriptions of the methods and their parameters, without their implementations."""
