"""Storage: objects below a URL, published whole, with retries."""
