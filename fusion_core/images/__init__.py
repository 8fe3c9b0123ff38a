"""Images as arrays: decoding, encoding, colour, bit depth, and synthetic pairs."""
