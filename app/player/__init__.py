"""The moving memory: a component that scrubs through the tokens of a stream in the browser."""

from app.player.component import player

__all__ = ["player"]
