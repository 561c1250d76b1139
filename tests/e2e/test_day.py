"""What a pool does in a day, told by the official client, the API server and the pods themselves."""

import io

from PIL import Image

from e2e.day import Day
from e2e.operator_process import KILLED
from e2e.pools import FULL_BATCH_SIZE, MAX_REPLICAS
from fluxpool_demo.record import Knob
from fluxpool_demo.verdict import OVERRUN_SHARE_LIMIT

NEXT_TICKS_SECONDS = 20.0


async def test_a_pool_is_applied_and_makes_an_image(day: Day) -> None:
    assert 0 < day.ready_at < day.first_image_at
    assert Image.open(io.BytesIO(day.image)).size == (64, 64)


async def test_under_load_the_batch_size_rises_before_the_replicas(day: Day) -> None:
    batch_size, replicas = day.first_rise(Knob.BATCH_SIZE), day.first_rise(Knob.REPLICAS)
    assert day.busy_at < batch_size.at < day.busier_at < replicas.at
    assert batch_size.before is not None
    assert batch_size.before < batch_size.after == FULL_BATCH_SIZE
    assert (replicas.before, replicas.after) == (1, MAX_REPLICAS)
    pods_ran_with_it = next(s.at for s in day.samples if s.at > day.busy_at and s.batch_size == FULL_BATCH_SIZE)
    assert pods_ran_with_it < replicas.at


async def test_every_rise_has_a_reason_that_names_the_signal(day: Day) -> None:
    assert "waiting for a row" in day.first_rise(Knob.BATCH_SIZE).reason
    assert "queue depth" in day.first_rise(Knob.REPLICAS).reason


async def test_replicas_follow_a_step_of_the_load_within_seconds(day: Day) -> None:
    assert day.first_rise(Knob.REPLICAS).at - day.busier_at < NEXT_TICKS_SECONDS


async def test_no_change_of_a_number_restarts_or_replaces_a_pod(day: Day) -> None:
    assert all(pod.restarts == 0 for pod in day.pods)
    ended = [pod for pod in day.pods if pod.ending_at is not None and pod.ending_at < day.rollout_at]
    assert not ended


async def test_no_number_turns_back_on_its_way_up_or_down(day: Day) -> None:
    assert [number for number in day.numbers(Knob.REPLICAS) if number] == [1, 2, 1]
    falls = [d.at for d in day.decisions if d.knob is Knob.REPLICAS and d.is_fall]
    assert all(at > day.evening_at for at in falls)


async def test_an_operator_killed_in_mid_change_comes_back_and_finishes_it(day: Day) -> None:
    (container,) = day.operator["status"]["containerStatuses"]
    assert (container["restartCount"], container["lastState"]["terminated"]["exitCode"]) == (1, KILLED)
    assert container["ready"]
    assert day.killed_at < day.two_ready_at


async def test_the_manifest_applied_again_while_it_scales_changes_nothing(day: Day) -> None:
    before, after = day.generations
    assert before == after


async def test_a_second_replica_takes_its_share_within_seconds_of_one_client_and_of_all(day: Day) -> None:
    for shares in (day.shares_of_load, day.shares_of_one):
        assert len(shares) == 2
        assert all(0.35 <= share <= 0.65 for share in shares), shares


async def test_a_rollout_under_load_replaces_every_pod_by_one_that_serves_first(day: Day) -> None:
    former = [pod for pod in day.pods if pod.seen_at < day.rollout_at]
    new = [pod for pod in day.pods if pod.seen_at > day.rollout_at]
    assert (len(former), len(new)) == (2, 2)
    assert all(pod.gone_at is not None and pod.gone_at < day.rolled_out_at for pod in former)
    serving = [(s.ready, s.desired_replicas) for s in day.samples if day.rollout_at < s.at < day.rolled_out_at]
    assert serving
    assert all(ready >= 2 for ready, _ in serving)


async def test_after_the_load_the_replicas_come_down_and_so_does_the_batch_size(day: Day) -> None:
    last = day.samples[-1]
    assert (last.desired_replicas, last.pods, last.ready) == (1, 1, 1)
    assert last.batch_size is not None
    assert last.batch_size == last.desired_batch_size
    assert last.batch_size < FULL_BATCH_SIZE


async def test_every_pod_that_ended_had_drained(day: Day) -> None:
    ended = [pod for pod in day.pods if pod.gone_at is not None]
    assert len(ended) == 3
    assert [pod.exit_code for pod in ended] == [0, 0, 0]


async def test_a_pod_has_answered_all_it_has_admitted(day: Day) -> None:
    assert day.admitted == day.answered > 0


async def test_the_pods_kept_their_pace(day: Day) -> None:
    assert day.pacing.steps > 100
    assert day.pacing.overrun_share <= OVERRUN_SHARE_LIMIT, day.pacing
