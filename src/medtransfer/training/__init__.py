"""One training loop behind a small Task contract; devices, precision and distribution are torch's own."""
