"""cceb, CEB with the consistent classifier (v2 section 2.3): the loss of ceb, with c(y|z) the Bayes inversion

    c(y|z) = b(z|y) p(y) / sum_y' b(z|y') p(y')

of the backward encoder instead of a linear layer (`jobs.engine.models.classifiers.ConsistentClassifier`), so
that the class means learn from both terms.
"""

from __future__ import annotations

from jobs.engine.objectives.ceb import CEB

CCEB = CEB
