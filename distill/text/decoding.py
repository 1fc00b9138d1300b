"""Ids to text, as they come."""

from collections.abc import Sequence

from tokenizers import Tokenizer

REPLACEMENT = "\ufffd"
"""What stands in a text for bytes that are no whole character."""
LONGEST_BEGUN = 3
"""Bytes of a character that is not whole, at most (UTF-8)."""


class TextStream:
    """Text out of a model's tokens, given out as soon as no later token can change it.

    A character whose bytes are not all there is held back, and so is what may turn out to be a stop string. A token is
    decoded behind those before it, since many tokenizers read a blank differently at the start of a text. All together
    what is given out is the text of all tokens, up to the first stop string. ``copy.copy`` makes a stream that goes on
    by itself.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int] = (), stop: Sequence[str] = ()) -> None:
        """``prompt`` are the ids that stand before the first token; their text is not given out."""
        self._tokenizer = tokenizer
        self._ids = tuple(map(int, prompt))
        self._given = len(self._ids)
        for _ in range(LONGEST_BEGUN):  # a prompt may end inside a character, which is then given out whole
            if self._decoded(self._ids[: self._given]).endswith(REPLACEMENT):
                self._given -= 1
        self._held = ""
        self._stop = tuple(stop)
        self.stopped = False
        """Whether a stop string has come; what follows is not given out."""

    def add(self, token: int) -> str:
        """What can be given out with one more token; often nothing."""
        self._ids = (*self._ids, int(token))
        text = self._new_text()
        if self.stopped or not text or text.endswith(REPLACEMENT):
            return ""
        self._ids = self._ids[self._given :]
        self._given = len(self._ids)
        return self._up_to_stop(text)

    def end(self) -> str:
        """What was held back, where no token follows."""
        if self.stopped:
            return ""
        text = self._up_to_stop(self._new_text())
        rest, self._held, self._given = self._held, "", len(self._ids)
        return text + rest

    def _new_text(self) -> str:
        before = self._decoded(self._ids[: self._given])
        return self._decoded(self._ids)[len(before) :]

    def _decoded(self, ids: tuple[int, ...]) -> str:
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def _up_to_stop(self, text: str) -> str:
        """Of the text that was held and the new one, what stands before a stop string, or what may be part of one."""
        text = self._held + text
        found = [text.index(stop) for stop in self._stop if stop in text]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        begun = (n for stop in self._stop for n in range(1, len(stop)) if text.endswith(stop[:n]))
        free = len(text) - max(begun, default=0)
        self._held = text[free:]
        return text[:free]
