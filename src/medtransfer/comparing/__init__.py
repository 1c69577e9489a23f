"""Which network for these images? A user's own data, several candidates, one equal budget; verb ``compare``."""
