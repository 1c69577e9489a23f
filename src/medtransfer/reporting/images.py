"""Images inside a page: one file to pass on, nothing beside it."""

import base64
from html import escape


def embedded(png: bytes, text: str) -> str:
    """Return an image inside the page; ``text`` is what a reader gets who cannot see it."""
    data = base64.b64encode(png).decode()
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{data}">'
