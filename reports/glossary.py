"""The glossary of the report: ten terms, explained at the end of the page and linked at their first use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from markupsafe import Markup, escape

GLOSSARY: Final[Mapping[str, str]] = {
    "fold": "One of the equal parts that cross-validation divides the images into. Each fold in turn is held out for "
    "validation while a network trains on the others: that is one split. A group (images that belong together) is "
    "never divided.",
    "fit": "One training run of one configuration on one split with one seed.",
    "trial": "One trial of the Optuna study: a configuration and its fits on the folds of the study.",
    "skill": "1 - cross-entropy / cross-entropy of a predictor that ignores the image and always predicts the class "
    "frequencies: 0 is chance, 1 is perfect.",
    "collapse": "A fit collapsed: it will not learn, for instance because it predicts the same probabilities for every "
    "image or its loss becomes infinite. Collapse detection stops such a fit early.",
    "racing": "Ending a configuration early, during its first fit or after any fold, because it is too far behind the "
    "best one.",
    "verdict": "How a fit ended. Learned: it finished and did not collapse. Collapsed: this fit will not learn. "
    "Stopped: racing ended it, or it was too slow or too large. Failed: an error in the program or the machine.",
    "finalist": "One of the best configurations of the search, trained again on fresh splits with fresh seeds. The "
    "recommended configuration is chosen among the finalists.",
    "promise": "The score to expect on new images like these, with a 95 % interval. The search score, pooled over the "
    "folds, is too high, because it is the best of many. If the interval is not entirely above the best baseline (a "
    "simple method without a network, or chance), the result is inconclusive.",
    "cliff": "A small change of the recommended configuration (a variant) that costs more than two standard errors of "
    "the score or leads to a collapse.",
}
"""Explanations by term, in at most three sentences each; a term uses only terms before it."""

_FORMS: Final = {"collapse": r"collaps(?:e|es|ed|ing)", "racing": "racing", "skill": "skill"}
_USE: Final = re.compile(
    r"\b(?:" + "|".join(f"(?P<{term}>{_FORMS.get(term, f'{term}s?')})" for term in GLOSSARY) + r")\b", re.IGNORECASE
)


class TermLinks:
    """Links the first use of each term on one page to its entry in the glossary.

    >>> link = TermLinks()
    >>> link("2 fits"), link("1 fit")
    (Markup('2 <a class="term" href="#term-fit">fits</a>'), Markup('1 fit'))
    """

    def __init__(self) -> None:
        self._left = set(GLOSSARY)

    def __call__(self, text: str) -> Markup:
        """Return `text` escaped, with links at terms that have not been linked yet."""
        return Markup(_USE.sub(self._link, str(escape(text))))

    def _link(self, use: re.Match[str]) -> str:
        term = use.lastgroup or ""
        if term not in self._left:
            return use[0]
        self._left.remove(term)
        return f'<a class="term" href="#term-{term}">{use[0]}</a>'
