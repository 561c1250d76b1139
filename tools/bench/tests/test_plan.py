"""What is asked, and when."""

from pathlib import Path

import numpy as np
import pytest

from fluxpool_bench import arrivals, workload
from fluxpool_bench.errors import UsageError
from fluxpool_bench.workload import DEFAULT_PROMPTS, Kind, Workload


def test_the_same_seed_draws_the_same_requests_and_a_longer_run_begins_with_the_shorter() -> None:
    mix = Workload([Kind(steps=4, weight=3), Kind(steps=28)], seed=7)
    assert mix.draw(50) == mix.draw(50)
    assert {request.kind.steps for request in mix.draw(50)} == {4, 28}
    assert mix.draw(50) != Workload(mix.kinds, seed=8).draw(50)


def test_a_later_run_has_the_same_kinds_and_prompts_and_none_of_the_same_seeds() -> None:
    mix = Workload([Kind(steps=4, prompts=("{seed}: a", "b")), Kind(steps=28)], seed=7)
    first, second = mix.draw(20), mix.draw(20, first=20)
    assert [request.kind for request in first] == [request.kind for request in second]
    assert [request.seed for request in first + second] == list(range(7, 47))
    assert {request.prompt for request in first} & {request.prompt for request in second} <= {"b", *DEFAULT_PROMPTS}


def test_kinds_are_drawn_by_weight() -> None:
    drawn = Workload([Kind(steps=4, weight=9), Kind(steps=28, weight=1)]).draw(2000)
    assert 0.85 < sum(request.kind.steps == 4 for request in drawn) / 2000 < 0.95


def test_a_field_that_is_not_given_is_not_sent() -> None:
    assert Kind().body(None, "p", 1) == {"prompt": "p", "n": 1, "response_format": "b64_json", "seed": 1}


def test_a_prompt_with_a_seed_in_it_is_never_said_twice() -> None:
    drawn = Workload([Kind(prompts=("{seed}: a cat", "{seed}: a dog"))], seed=5).draw(20)
    assert len({request.prompt for request in drawn}) == 20
    assert all(request.prompt.startswith(f"{request.seed}: a ") for request in drawn)


def test_a_workload_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mix.toml"
    path.write_text('[[kind]]\nweight = 2\nsize = "64x64"\nsteps = 4\nprompts = ["a"]\n[[kind]]\nguidance = 2.5\n')
    kinds = workload.load(path).kinds
    assert [(kind.weight, kind.size, kind.steps, kind.guidance) for kind in kinds] == [
        (2, "64x64", 4, None),
        (1, None, None, 2.5),
    ]
    assert kinds[0].prompts == ("a",)


def test_each_kind_of_a_file_has_a_name_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "mix.toml"
    path.write_text(
        "[[kind]]\nsteps = 4\n"
        "[[kind]]\nsteps = 4\nguidance = 2.5\n"
        "[[kind]]\nsteps = 4\noutput_format = 'webp'\n"
        "[[kind]]\nsteps = 4\nprompts = ['a']\n"
        "[[kind]]\nsteps = 4\nn = 2\ngive_up_seconds = 5\n"
    )
    assert [kind.name for kind in workload.load(path).kinds] == [
        "default size, 4 steps, kind 1",
        "default size, 4 steps, guidance 2.5",
        "default size, 4 steps, webp",
        "default size, 4 steps, kind 4",
        "default size, 4 steps, n=2, gives up after 5 s",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "at least one"),
        ("kind = 3", "at least one"),
        ("kind = [3]", "kind 1: must be a table"),
        ("[[kind]]\nstepz = 4", "unknown field 'stepz'"),
        ("[[kind]]\nsteps = 0", "steps must be"),
        ("[[kind]]\nsteps = 'four'", "steps must be"),
        ("[[kind]]\nweight = 0", "weight must be"),
        ("[[kind]]\ngive_up_seconds = 0", "give_up_seconds must be"),
        ("[[kind]]\nn = true", "n must be"),
        ("[[kind]]\nguidance = 'high'", "guidance must be"),
        ("[[kind]]\nguidance = nan", "guidance must be"),
        ("[[kind]]\nsize = 512", "size must be"),
        ("[[kind]]\nsize = '512'", "size must be"),
        ("[[kind]]\noutput_format = 'gif'", "output_format must be one of png, jpeg, webp"),
        ("[[kind]]\nprompts = []", "prompts must be"),
        ("[[kind]]\nprompts = 'a'", "prompts must be"),
        ("[[kind", "workload"),
    ],
)
def test_a_wrong_workload_file_is_refused_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "mix.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=complaint):
        workload.load(path)


def test_poisson_arrivals_have_the_rate_and_the_irregularity_of_poisson() -> None:
    gaps = np.diff(arrivals.poisson(5, 5000))
    assert 0.19 < gaps.mean() < 0.21
    assert 0.95 < gaps.std() / gaps.mean() < 1.05
    assert np.allclose(np.diff(arrivals.constant(5, 10)), 0.2)


@pytest.mark.parametrize("text", ["t_s,rate\n0.5,1\n1.5,2\n", "0.5\n1.5\n"])
def test_arrivals_are_read_from_csv(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    assert arrivals.from_csv(path) == [0.5, 1.5]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no arrival"),
        ("t_s\n", "no arrival"),
        ("1\nx\n", "line 2"),
        ("1\n\n\nx\n", "line 4"),
        ("1\ninf\n", "line 2"),
        ("2\n1\n", "never go back"),
        ("-1\n", "0 or later"),
        ("1" * 200_000, "field larger than field limit"),
    ],
)
def test_wrong_arrivals_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=complaint):
        arrivals.from_csv(path)
