"""What fits into memory, from a few measured peaks."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.memory import Memory, PeakLine, Space, too_large

GB = 10**9
TEXT_TOKENS = 512
REFERENCE = Bucket.of_size(1024, 1024, TEXT_TOKENS)
"""4608 tokens."""


def of(width: int, height: int) -> Bucket:
    return Bucket.of_size(width, height, TEXT_TOKENS)


def memory(**changes: object) -> Memory:
    """A step takes 0.1 GB and 1 GB per row of the reference; decoding 3 GB, and an image in flight 4.7 MB."""
    usual = Memory(
        reference=REFERENCE,
        step=PeakLine(0.1 * GB, 1 * GB / REFERENCE.tokens),
        encode_bytes=GB // 2,
        decode_bytes=3 * GB,
        latent_bytes=128.0,
        text_bytes=8192.0,
        room_bytes=8 * GB,
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


# ---- the line over what was measured


def test_a_line_goes_through_points_that_are_on_one() -> None:
    line = PeakLine.over([(100, 1100), (200, 2100), (400, 4100), (800, 8100)])
    assert (line.fixed_bytes, line.token_bytes) == (pytest.approx(100), pytest.approx(10))
    assert line.at(1600) == pytest.approx(16100)


def test_the_steepest_slope_is_that_of_larger_steps() -> None:
    # Up to 200 tokens one operation holds the most (5 per token and 1000), from there on another (10 per token).
    line = PeakLine.over([(100, 1500), (200, 2000), (400, 4000), (800, 8000)])
    assert line.token_bytes == pytest.approx(10)
    assert line.at(3200) >= 32_000
    assert line.at(100) >= 1500


def test_one_point_is_all_per_token_and_fewer_bytes_for_more_tokens_are_no_gain() -> None:
    assert PeakLine.over([(200, 3000)]) == PeakLine(0.0, 15.0)
    flat = PeakLine.over([(100, 5000), (200, 4000)])
    assert (flat.token_bytes, flat.fixed_bytes) == (0.0, 5000.0)
    assert flat.tokens(5000) == 0
    assert flat.tokens(6000) > 0, "and it is no division by zero"


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**6)), min_size=1, max_size=4))
def test_what_an_operation_holds_is_never_predicted_to_be_less(operations: list[tuple[int, int]]) -> None:
    """Each operation is a fixed part and one per token; the largest of them is the peak."""

    def peak(tokens: int) -> int:
        return max(fixed + each * tokens for fixed, each in operations)

    line = PeakLine.over([(rows * 4608, peak(rows * 4608)) for rows in (1, 2, 4, 8)])
    for rows in (1, 2, 3, 4, 5, 8):
        assert line.at(rows * 4608) >= peak(rows * 4608) * (1 - 1e-9)


# ---- what fits


def test_rows_fit_by_their_tokens() -> None:
    assert memory().rows(REFERENCE) == 7  # 7.1 GB of 8; 8 rows take 8.1
    assert memory().rows(of(512, 512)) == 23  # of 1536 tokens, 0.333 GB each
    assert memory().rows(of(2048, 2048)) == 2  # of 16,896 tokens, 3.67 GB each


def test_images_in_flight_leave_less() -> None:
    holds = memory()
    assert holds.image_bytes(REFERENCE) == 4096 * 128 + 512 * 8192
    assert replace(holds, row_bytes=8_388_608).image_bytes(REFERENCE) == 4096 * 128 + 512 * 8192 + 8_388_608
    assert holds.rows(REFERENCE, 50 * holds.image_bytes(REFERENCE)) == 7  # 0.24 GB
    assert holds.rows(REFERENCE, 200 * holds.image_bytes(REFERENCE)) == 6  # 0.94 GB
    assert holds.rows(REFERENCE, 8 * GB) == 0


def test_a_size_is_held_if_its_step_and_its_decoding_and_its_prompt_are() -> None:
    assert memory().holds(of(1536, 1536))  # decoding takes 6.75 GB
    assert not memory().holds(of(1792, 1792))  # 9.19 GB, though a step would take 2.94
    assert not memory(decode_bytes=0).holds(of(3200, 3200))  # and here it is the step: 8.9 GB
    assert not memory(encode_bytes=9 * GB).holds(of(256, 256))
    assert not memory(encode_bytes=3 * GB).holds(replace(REFERENCE, text_tokens=1024)), "T5's scores are quadratic"
    assert memory(encode_bytes=3 * GB).holds(replace(REFERENCE, text_tokens=256))


def test_in_tiles_decoding_takes_one_tile_and_little_more() -> None:
    tiled = memory(tile_pixels=1024 * 1024)
    assert tiled.image_decode_bytes(REFERENCE) == 3 * GB
    assert tiled.image_decode_bytes(of(2048, 2048)) == pytest.approx(3 * GB + 128 * 2048 * 2048)
    assert tiled.holds(of(2048, 2048))
    assert tiled.image_decode_bytes(of(512, 512)) == 0.75 * GB


def test_where_the_measured_image_was_decoded_in_tiles_smaller_ones_take_no_more() -> None:
    tiled = memory(tile_pixels=512 * 512)
    assert tiled.image_decode_bytes(REFERENCE) == tiled.image_decode_bytes(of(256, 256)) == 3 * GB
    assert tiled.image_decode_bytes(of(1024, 2048)) == 3 * GB + 128 * 1024 * 1024


def test_the_largest_size_is_held_and_the_next_is_not() -> None:
    largest = memory().largest_pixels(TEXT_TOKENS)
    assert memory().holds(Bucket(1, largest // 256, TEXT_TOKENS))
    assert not memory().holds(Bucket(1, largest // 256 + 1, TEXT_TOKENS))
    assert largest == pytest.approx(8 / 3 * 1024 * 1024, rel=0.01)


def test_what_does_not_fit_is_told_with_what_it_takes_and_what_is_possible() -> None:
    holds = memory()
    assert too_large(holds, REFERENCE) is None
    largest = holds.largest_pixels(TEXT_TOKENS)
    assert too_large(holds, of(2048, 2048)) == (
        f"must have at most {largest} pixels (width x height) on this server's device, and is 2048x2048 with 4194304: "
        "it takes 12.0 GB of memory, of which 8.0 are free"
    )


# ---- the room


def test_the_room_is_what_is_free_but_for_a_share_of_the_device_and_the_cache_of_prompts() -> None:
    assert memory().within(Space(20 * GB, 80 * GB), cache_bytes=GB).room_bytes == 15 * GB


def test_the_size_that_was_made_at_warm_up_is_never_refused() -> None:
    tight = memory().within(Space(2 * GB, 80 * GB), cache_bytes=GB)
    assert tight.room_bytes == pytest.approx(3 * GB + tight.image_bytes(REFERENCE))
    assert tight.holds(REFERENCE)
    assert not tight.holds(of(1024, 1040))
    assert tight.largest_pixels(TEXT_TOKENS) == 1024 * 1024


@given(
    width=st.integers(1, 256), height=st.integers(1, 256), rows=st.integers(1, 64), room=st.integers(4 * GB, 200 * GB)
)
def test_as_many_rows_as_are_said_to_fit_do(width: int, height: int, rows: int, room: int) -> None:
    bucket, holds = Bucket(height, width, TEXT_TOKENS), memory(room_bytes=room)
    fitting = holds.rows(bucket)
    assert holds.step_bytes(bucket, fitting) <= room * (1 + 1e-9) or fitting == 0
    assert holds.step_bytes(bucket, fitting + 1) > room * (1 - 1e-9)
    assert (rows <= fitting) == (holds.step_bytes(bucket, rows) <= room) or rows == fitting + 1
