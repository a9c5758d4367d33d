"""Square Attack (Andriushchenko et al., 2020, "Square Attack: a query-efficient black-box adversarial attack via random
search", Algorithm 1). Shapes: B images, C channels, H by W pixels, D values of an image, S by S pixels of a window, K
classes, Q queries.

It sees logits and no gradient: a random change of a window stays if the margin of the label falls. As in the authors'
code a window does not reach the last row and column unless it covers the image. Every image has windows and signs of
its own, a function of the seed and the sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from experiments.benchmarks import Norm
from jobs.engine import randomness
from jobs.engine.attacks.losses import ascent
from jobs.engine.attacks.rows import Broken, Classifier, Logits, kept, rows
from jobs.engine.device import to_device

QUERIES = 5000
_SHARE = 0.8
"""Of the pixels that the first windows cover."""
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries, of 10,000, behind which that share is halved."""
_MOST_OF_ROUND = 500
"""Queries whose numbers are drawn in one go."""
_MOST_AHEAD = 16
"""Queries of an image that one pass takes, where few images are left."""
_WASTE = 0.4
"""Queries ahead times the share that improves: about half of this is the share of queries that come again."""
_TINY = 1e-12


@dataclass
class _State:
    """What is known of each image that is still attacked."""

    place_B: Tensor
    x_BD: Tensor
    y_B: Tensor
    samples_B: Tensor
    best_BD: Tensor
    margin_B: Tensor
    """Of the best point, negative where the network is right: what Square calls the loss, turned round."""
    broken_B: Tensor
    """bool: the network is wrong at the best point."""
    query_B: Tensor
    """Queries of the present round that are done."""
    drawn_BQN: Tensor
    """Uniform numbers of the queries of the present round."""


def square(
    classifier: Classifier,
    x_BD: Tensor,
    y_B: Tensor,
    samples_B: Tensor,
    *,
    norm: Norm,
    eps: float,
    seed: int,
    queries: int = QUERIES,
    rescaled: bool = False,
) -> Broken:
    """Search until the network is wrong, for at most `queries` queries behind the start. `rescaled` stretches the
    schedule of window sizes, made for 10,000 queries, over those there are. All images are to be right; in l2 they are
    of 5 x 5 pixels or more."""
    outcome = Broken.none(x_BD)
    search = _Linf(classifier, eps) if norm == "linf" else _L2(classifier, eps)
    drawn_BN = randomness.uniform(seed, "square_start", 0, samples_B, search.start_numbers, torch.float32)
    start_BD = search.start(x_BD, drawn_BN)
    place_B, nothing_BQN = torch.arange(len(x_BD), device=x_BD.device), x_BD.new_empty(len(x_BD), 0, 0)
    asked = _asked(classifier, start_BD, y_B)
    state = _State(place_B, x_BD, y_B, samples_B, start_BD, *asked, torch.zeros_like(place_B), nothing_BQN)

    def drop() -> _State:
        if not state.broken_B.any():
            return state
        outcome.add(state.place_B[state.broken_B], state.best_BD[state.broken_B])
        return kept(state, ~state.broken_B)

    state, rate = drop(), 1.0
    for first, length, share in _rounds(queries, rescaled):
        if not len(state.x_BD):
            break
        numbers, size = search.numbers, search.size(share)
        drawn_BN = randomness.uniform(seed, "square", first, state.samples_B, length * numbers, torch.float32)
        state.drawn_BQN, state.query_B = drawn_BN.view(-1, length, numbers), torch.zeros_like(state.place_B)
        while len(todo_b := (state.query_B < length).nonzero()[:, 0]):
            ahead = max(1, min(_MOST_AHEAD, classifier.enough // len(todo_b), int(_WASTE / max(rate, 1e-3))))
            for places_b in torch.split(todo_b, max(1, classifier.at_once // ahead)):
                rate = 0.9 * rate + 0.1 * _query(classifier, search, size, state, places_b, ahead)
            state = drop()
    return outcome


def black_box(
    logits_of: Logits,
    x_BCHW: Tensor,
    y_B: Tensor,
    samples_B: Tensor,
    *,
    norm: Norm,
    eps: float,
    queries: int,
    seed: int,
) -> Tensor:
    """Return for each image whether the network is right before and behind Square with the schedule of window sizes
    stretched over `queries`, bool of shape (B,)."""
    classifier, x_BD, y_B = Classifier.of(logits_of, x_BCHW), rows(x_BCHW), y_B.to(x_BCHW.device)
    right_B = classifier.logits(x_BD).argmax(dim=1) == y_B
    if right_B.any():
        samples_b = to_device(samples_B, x_BCHW.device)[right_B]
        options = {"norm": norm, "eps": eps, "seed": seed, "queries": queries, "rescaled": True}
        broken = square(classifier, x_BD[right_B], y_B[right_B], samples_b, **options)  # type: ignore[arg-type]
        right_B[right_B.clone()] = ~broken.wrong_B
    return right_B


def _query(
    classifier: Classifier, search: _Linf | _L2, size: int, state: _State, places_b: Tensor, ahead: int
) -> float:
    """Ask for the next `ahead` queries of these images at once, as if none improved, and take the first that does;
    those behind it come again. Return the share that improved.

    A point that the window does not change is no better, and is not asked for.
    """
    length = state.drawn_BQN.shape[1]
    query_bA = state.query_B[places_b, None] + torch.arange(ahead, device=places_b.device)
    drawn_RN = state.drawn_BQN[places_b[:, None], query_bA.clamp(max=length - 1)].flatten(0, 1)
    rows_R = places_b.repeat_interleave(ahead)
    best_RD = state.best_BD[rows_R]
    new_RD = search.propose(state.x_BD[rows_R], best_RD, size, drawn_RN)
    ask_r = ((new_RD != best_RD).any(dim=1) & (query_bA < length).flatten()).nonzero()[:, 0]
    if not len(ask_r):
        state.query_B[places_b] += ahead
        return 0.0
    every = len(ask_r) == len(rows_R)
    margin_r, broken_r = _asked(classifier, new_RD if every else new_RD[ask_r], state.y_B[rows_R[ask_r]])
    better_r = (margin_r > state.margin_B[rows_R[ask_r]]) | broken_r
    better_R = torch.zeros_like(rows_R, dtype=torch.bool).index_put_((ask_r,), better_r)
    better_b, ahead_b = better_R.view(-1, ahead).max(dim=1)  # of several the first
    state.query_B[places_b] += torch.where(better_b, ahead_b + 1, ahead)
    taken_R = torch.zeros_like(better_R).view(-1, ahead).scatter_(1, ahead_b[:, None], better_b[:, None]).flatten()
    places_t, chosen_t = rows_R[taken_R], taken_R[ask_r]
    state.best_BD[places_t] = new_RD[taken_R]
    state.margin_B[places_t], state.broken_B[places_t] = margin_r[chosen_t], broken_r[chosen_t]
    return len(places_t) / len(rows_R)


def _asked(classifier: Classifier, z_BD: Tensor, y_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return max_{j≠y} z_j - z_y, and whether the network is wrong."""
    logits_BK = classifier.logits(z_BD)
    return ascent("margin", logits_BK, y_B), logits_BK.argmax(dim=1) != y_B


def _rounds(queries: int, rescaled: bool) -> Iterator[tuple[int, int, float]]:
    """Yield the number of the first query of each round, how many it has, and the share of the pixels that their
    windows cover."""
    shares = [_covered(query * 10_000 // queries if rescaled else query) for query in range(queries)]
    first = 0
    for query in range(1, queries + 1):
        if query == queries or shares[query] != shares[first] or query - first == _MOST_OF_ROUND:
            yield first, query - first, shares[first]
            first = query


def _covered(query: int) -> float:
    """Return the share of the pixels that a window covers at a query of 10,000."""
    return float(_SHARE / 2 ** sum(query > behind for behind in _HALVINGS))


def _signs(drawn: Tensor) -> Tensor:
    return torch.where(drawn < 0.5, -1.0, 1.0).to(drawn.dtype)


@dataclass(frozen=True)
class _Linf:
    """Algorithm 2: a window takes one sign for each channel, of the largest change there is. The start has a sign for
    each column and channel."""

    classifier: Classifier
    eps: float

    @property
    def start_numbers(self) -> int:
        return self.classifier.width * self.classifier.channels

    @property
    def numbers(self) -> int:
        """Uniform numbers of a query: the window's two coordinates and the signs."""
        return 2 + self.classifier.channels

    def size(self, share: float) -> int:
        height, width = self.classifier.height, self.classifier.width
        return min(max(round(math.sqrt(share * height * width)), 1), height, width)

    def start(self, x_BD: Tensor, drawn_BN: Tensor) -> Tensor:
        x_BHV = x_BD.view(len(x_BD), self.classifier.height, -1)
        return torch.add(x_BHV, _signs(drawn_BN)[:, None], alpha=self.eps).clamp_(0, 1).flatten(1)

    def propose(self, x_BD: Tensor, best_BD: Tensor, size: int, drawn_BN: Tensor) -> Tensor:
        """All points of the search lie on the ball's surface or on the box's, so that a change by twice eps, brought
        back into both, is x + eps or x - eps in the box."""
        height, width, channels = self.classifier.height, self.classifier.width, self.classifier.channels
        rows_BS, columns_BS = _window(drawn_BN, size, height, width)
        images_B11 = torch.arange(len(x_BD), device=x_BD.device)[:, None, None]
        where = images_B11, rows_BS[:, :, None], columns_BS[:, None, :]
        x_BSSC = x_BD.view(-1, height, width, channels)[where]
        new_BD = best_BD.clone()
        change_B11C = self.eps * _signs(drawn_BN[:, None, None, 2:])
        new_BD.view(-1, height, width, channels)[where] = (x_BSSC + change_B11C).clamp_(0, 1)
        return new_BD


@dataclass(frozen=True)
class _L2:
    """Algorithm 3: a window takes a bump of both signs on top of what it holds, with the norm that a second window, set
    to zero, gives up. The start is a grid of such bumps."""

    classifier: Classifier
    eps: float

    @property
    def _side(self) -> int:
        return self.classifier.height // 5

    @property
    def _tiles(self) -> tuple[int, int]:
        return self.classifier.height // self._side, self.classifier.width // self._side

    @property
    def start_numbers(self) -> int:
        """Of each tile: whether it lies across, and a sign for each channel."""
        return math.prod(self._tiles) * (1 + self.classifier.channels)

    @property
    def numbers(self) -> int:
        """Of each query: two windows' coordinates, whether the bump lies across, and the signs."""
        return 5 + self.classifier.channels

    def size(self, share: float) -> int:
        height, width = self.classifier.height, self.classifier.width
        size = max(round(math.sqrt(share * height * width)), 3)
        return min(size + (size % 2 == 0), height, width)

    def start(self, x_BD: Tensor, drawn_BN: Tensor) -> Tensor:
        height, width, channels = self.classifier.height, self.classifier.width, self.classifier.channels
        down, across = self._tiles
        drawn_BTN = drawn_BN.view(len(x_BD), down * across, 1 + channels)
        bumps_BTSSC = torch.stack([self._bumps(self._side, drawn_BN) for drawn_BN in drawn_BTN.unbind(1)], dim=1)
        delta_BHWC = x_BD.new_zeros(len(x_BD), height, width, channels)
        tiles = bumps_BTSSC.view(-1, down, across, *bumps_BTSSC.shape[2:]).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        first = (height - self._side * 5) // 2  # of the authors' code, for rows and columns
        down, across = min(tiles.shape[1], height - first), min(tiles.shape[2], width - first)
        delta_BHWC[:, first : first + down, first : first + across] = tiles[:, :down, :across]
        return self._scaled(x_BD, delta_BHWC.flatten(1))

    def propose(self, x_BD: Tensor, best_BD: Tensor, size: int, drawn_BN: Tensor) -> Tensor:
        height, width, channels = self.classifier.height, self.classifier.width, self.classifier.channels
        images_B11 = torch.arange(len(x_BD), device=x_BD.device)[:, None, None]
        first, second = (
            (images_B11, rows_BS[:, :, None], columns_BS[:, None, :])
            for rows_BS, columns_BS in (
                _window(drawn_BN, size, height, width),
                _window(drawn_BN[:, 2:], size, height, width),
            )
        )
        delta_BD = best_BD - x_BD
        unused_B = (self.eps**2 - _dot(delta_BD, delta_BD)).clamp_(min=0)
        delta_BHWC = delta_BD.view(-1, height, width, channels)
        old_BSSC = delta_BHWC[first]
        old_square_B11C = old_BSSC.square().sum(dim=(1, 2), keepdim=True)
        delta_BHWC[first] = 0
        given_up_B11C = delta_BHWC[second].square().sum(dim=(1, 2), keepdim=True)  # but for the windows' overlap
        delta_BHWC[second] = 0
        bump_BSSC = self._bumps(size, drawn_BN[:, 4:]) + old_BSSC / (_TINY + old_square_B11C.sqrt())
        bump_BSSC /= _TINY + bump_BSSC.square().sum(dim=(1, 2), keepdim=True).sqrt()
        room_B11C = unused_B[:, None, None, None] / channels + old_square_B11C + given_up_B11C
        delta_BHWC[first] = bump_BSSC * room_B11C.sqrt()
        return self._scaled(x_BD, delta_BD)

    def _scaled(self, x_BD: Tensor, delta_BD: Tensor) -> Tensor:
        scale_B1 = (self.eps / (_dot(delta_BD, delta_BD).sqrt() + _TINY))[:, None]
        return torch.addcmul(x_BD, delta_BD, scale_B1).clamp_(0, 1)

    def _bumps(self, size: int, drawn_BN: Tensor) -> Tensor:
        """Return a bump for each image, BSSC, by whether it lies across and its channels' signs."""
        bump_SS = _bump(size).to(drawn_BN)
        bump_BSS = torch.where(drawn_BN[:, 0, None, None] < 0.5, bump_SS, bump_SS.T)
        return bump_BSS[..., None] * _signs(drawn_BN[:, None, None, 1:])


def _window(drawn_BN: Tensor, size: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the rows and the columns of a window for each image, each BS."""
    along_S = torch.arange(size, device=drawn_BN.device)
    row_B, column_B = (drawn_BN[:, 0] * (height - size)).long(), (drawn_BN[:, 1] * (width - size)).long()
    return row_B[:, None] + along_S, column_B[:, None] + along_S


@cache
def _bump(size: int) -> Tensor:
    """Return a bump of unit norm: a pyramid of 1/k^2 on the upper half, its negative on the lower."""
    upper_SS = _pyramid(size // 2, size)
    lower_SS = -_pyramid(size - size // 2, size)
    bump_SS = torch.cat([upper_SS, lower_SS])
    return bump_SS / bump_SS.square().sum().sqrt()


def _pyramid(height: int, width: int) -> Tensor:
    bump = torch.zeros(height, width)
    top, left = height // 2, width // 2
    for ring in range(max(height // 2 + 1, width // 2 + 1)):
        rows, columns = slice(max(top, 0), top + 2 * ring + 1), slice(max(left, 0), left + 2 * ring + 1)
        bump[rows, columns] += 1 / (ring + 1) ** 2
        top, left = top - 1, left - 1
    return bump / bump.square().sum().sqrt() if height else bump


def _dot(a_BD: Tensor, b_BD: Tensor) -> Tensor:
    return torch.bmm(a_BD[:, None], b_BD[:, :, None])[:, 0, 0]
