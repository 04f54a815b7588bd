# SPDX-License-Identifier: Apache-2.0
"""Pieces: every byte is fetched by somebody, none is lost, nobody waits for a slow one."""

from __future__ import annotations

import random
import threading

import pytest

from scale_airflow.rescale.transfers.pieces import BLOCK, MIB, Piece, Pieces, gaps, merged


def finish(pieces: Pieces, piece: Piece) -> None:
    pieces.arrived(piece, piece.ahead)
    pieces.leave(piece)


def test_ranges_that_touch_are_one() -> None:
    assert merged([(5, 9), (0, 3), (3, 5), (20, 20), (7, 12)]) == [(0, 12)]
    assert merged([(0, 1), (2, 3)]) == [(0, 1), (2, 3)]


@pytest.mark.parametrize(
    ("done", "missing"),
    [
        ([], [(0, 10)]),
        ([(0, 10)], []),
        ([(2, 4), (6, 8)], [(0, 2), (4, 6), (8, 10)]),
        ([(0, 3), (9, 30)], [(3, 9)]),
    ],
)
def test_gaps_are_what_is_not_done(done: list[tuple[int, int]], missing: list[tuple[int, int]]) -> None:
    assert gaps(10, done) == missing


def test_pieces_get_smaller_towards_the_end() -> None:
    pieces = Pieces(100 * MIB)
    sizes = []
    while (piece := pieces.take(10)) is not None:
        sizes.append(piece.ahead)
        finish(pieces, piece)
    assert sizes[0] == 100 * MIB // 40
    assert sizes == sorted(sizes, reverse=True) or sizes[-1] <= MIB
    assert sum(sizes) == 100 * MIB
    assert min(sizes) >= MIB // 2
    assert pieces.is_whole


def test_no_piece_is_larger_than_a_request_should_be() -> None:
    piece = Pieces(10_000 * MIB).take(2)
    assert piece is not None
    assert piece.ahead == 64 * MIB


def test_a_rest_that_was_given_back_is_fetched_next() -> None:
    pieces = Pieces(8 * MIB)
    first = pieces.take(2)
    assert first is not None
    pieces.arrived(first, 1000)
    pieces.leave(first)
    again = pieces.take(2)
    assert again is not None
    assert again.position == 1000
    assert pieces.prefix == 1000


def test_who_is_idle_takes_over_the_second_half_of_the_slowest() -> None:
    pieces = Pieces(40 * MIB, smallest=20 * MIB)
    slow = pieces.take(1)
    rest = pieces.take(1)
    assert slow is not None
    assert rest is not None
    pieces.arrived(rest, rest.ahead - MIB)
    end = slow.end
    taken = pieces.take_over()
    assert taken is not None
    assert slow.end == taken.start
    assert taken.end == end
    assert slow.position + BLOCK <= taken.start


def test_little_is_not_worth_another_request() -> None:
    pieces = Pieces(2 * BLOCK - 1)
    assert pieces.take_over() is None
    assert pieces.take(1) is not None
    assert pieces.take_over() is None


def test_without_ranges_one_fetches_all_that_is_missing() -> None:
    pieces = Pieces(40 * MIB, done=[(0, MIB)])
    first, second = pieces.take(4), pieces.take(4)
    assert first is not None
    assert second is not None
    pieces.arrived(second, 5)
    assert pieces.only_one(second)
    assert (second.position, second.end) == (MIB, 40 * MIB)
    assert not pieces.only_one(first)
    assert first.ahead == 0
    pieces.leave(first)
    assert pieces.take(4) is None
    assert pieces.take_over() is None
    pieces.arrived(second, 3 * MIB)
    pieces.leave(second)
    third = pieces.take(4)
    assert third is not None
    assert (third.position, third.end) == (4 * MIB, 40 * MIB)
    finish(pieces, third)
    assert pieces.is_whole


def test_the_prefix_ends_at_the_first_missing_byte() -> None:
    pieces = Pieces(10 * MIB, done=[(0, 2 * MIB)])
    assert pieces.prefix == 2 * MIB
    first, second = pieces.take(1), pieces.take(1)
    assert first is not None
    assert second is not None
    finish(pieces, second)
    assert pieces.prefix == 2 * MIB
    pieces.arrived(first, 10)
    assert pieces.prefix == 2 * MIB + 10
    finish(pieces, first)
    assert pieces.prefix == second.end


def test_who_waits_for_bytes_is_woken() -> None:
    pieces = Pieces(2 * MIB, largest=2 * MIB)
    piece = pieces.take(1)
    assert piece is not None
    seen: list[int | None] = []
    waiter = threading.Thread(target=lambda: seen.append(pieces.wait_for_prefix(0)))
    waiter.start()
    pieces.arrived(piece, 7)
    waiter.join(10)
    pieces.give_up()
    seen.append(pieces.wait_for_prefix(7))
    assert seen == [7, None]
    assert pieces.take(1) is None


@pytest.mark.parametrize("seed", range(30))
def test_whatever_breaks_every_byte_is_fetched(seed: int) -> None:
    chance = random.Random(seed)
    size = chance.randrange(1, 30 * MIB)
    pieces = Pieces(size)
    held: list[Piece] = []
    fetched: list[tuple[int, int]] = []
    while not pieces.is_whole:
        act = chance.random()
        if act < 0.4 and len(held) < 6:
            found = pieces.take(6) or pieces.take_over()
            if found is not None:
                held.append(found)
        elif held:
            piece = chance.choice(held)
            count = min(chance.randrange(1, BLOCK + 1), piece.ahead)
            fetched.append((piece.position, piece.position + count))
            pieces.arrived(piece, count)
            if not piece.ahead or act > 0.95:
                pieces.leave(piece)
                held.remove(piece)
    assert merged(fetched) == [(0, size)]
    assert sum(end - start for start, end in fetched) == size
    assert pieces.prefix == size
