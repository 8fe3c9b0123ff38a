"""Storage: objects below a URL, published atomically, with retries."""
