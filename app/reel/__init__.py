"""The moving picture of a lesson: frames that a slider steps through in the browser, without asking the server."""

from app.reel.component import reel

__all__ = ["reel"]
