"""Image quality measures of other libraries, as metrics: learned ones, and without a reference."""
