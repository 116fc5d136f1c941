"""Rows of the warehouse on pages of syncs (previews, samples), masked as those of dead letters are."""

from __future__ import annotations

from collections.abc import Sequence

from dlq.services import sight


class PageMask:
    """``syncs.services.masks.PageMask``; make one for a page. Equal values get equal masks."""

    def __init__(self) -> None:
        self._masker = sight.masker()

    def row(self, documents: Sequence[str], texts: Sequence[str]) -> tuple[list[str], list[str]]:
        """JSON documents and plain texts that speak of one row, masked: what is hidden in one of them is hidden in all.

        A document that cannot be read as JSON becomes a JSON text that says so; an empty one stays empty.
        """
        if self._masker is None:
            return list(documents), list(texts)
        named = {f"d{place}": text for place, text in enumerate(documents)}
        named |= {f"t{place}": text for place, text in enumerate(texts)}
        plain, found = self._masker.parsed(named, documents=[f"d{place}" for place in range(len(documents))])
        shown = [found[f"d{place}"] for place in range(len(documents))]
        return [document.text() if document else "" for document in shown], [plain[f"t{place}"] for place in range(len(texts))]

    def sentence(self, text: str) -> str:
        """What a destination said of a row that is not at hand: what is quoted in it, or looks like a value, is left away."""
        if self._masker is None or not text:
            return text
        return self._masker.text(sight.message(text, is_known=False), {})
