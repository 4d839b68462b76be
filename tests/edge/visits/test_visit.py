from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oahega_edge.visits.visit import Visit, VisitTally


def visit_of(*frames: tuple[str | None, float, float]) -> Visit:
    tally = VisitTally()
    for label, height, now in frames:
        tally.see(label, height, now)
    return tally.visit()


def test_an_expression_counts_until_the_next_frame() -> None:
    visit = visit_of(
        (None, 0.2, 10.0), ("happy", 0.3, 11.0), ("happy", 0.5, 13.0), ("sad", 0.4, 14.0), ("sad", 0.4, 15.0)
    )

    assert visit.seen == 5.0
    assert visit.read == 4.0
    assert visit.shares == {"happy": 0.75, "sad": 0.25}
    assert visit.dominant == "happy"
    assert visit.nearest == 0.5


def test_a_face_that_was_never_read_has_no_expression() -> None:
    visit = visit_of((None, 0.04, 0.0), (None, 0.05, 2.0))

    assert (visit.seen, visit.read, visit.shares, visit.dominant) == (2.0, 0.0, {}, None)


def test_a_face_of_one_frame_took_no_time() -> None:
    assert visit_of(("happy", 0.2, 5.0)) == Visit(0.0, 0.0, {}, 0.2)


def test_a_face_that_is_cut_off_by_the_edges_is_not_higher_than_the_picture() -> None:
    assert visit_of((None, 1.3, 0.0)).nearest == 1.0


@given(
    st.lists(
        st.tuples(st.sampled_from(["happy", "sad", None]), st.floats(0, 2), st.floats(0.01, 3)), min_size=1
    )
)
def test_shares_sum_to_one_and_no_more_is_read_than_seen(
    steps: list[tuple[str | None, float, float]],
) -> None:
    now, frames = 0.0, []
    for label, height, wait in steps:
        now += wait
        frames.append((label, height, now))

    visit = visit_of(*frames)

    assert visit.read <= visit.seen + 1e-9
    assert sum(visit.shares.values()) == pytest.approx(1.0 if visit.read else 0.0)
