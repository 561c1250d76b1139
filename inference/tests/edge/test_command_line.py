"""`fluxpool-inference`: every option as a flag and as a variable, and one line for whoever mistypes one."""

import dataclasses
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fluxpool_inference import cli, lifecycle
from fluxpool_inference.engine import EngineConfig, Pace, Quantize
from fluxpool_inference.settings import ServeSettings
from fluxpool_inference.size import Size
from fluxpool_inference.version import VERSION

# Every option, as typed and as understood; none is its default.
OPTIONS: dict[str, tuple[str, object]] = {
    "model": ("acme/flux", "acme/flux"),
    "revision": ("v2", "v2"),
    "dtype": ("float32", "float32"),
    "device": ("cpu", "cpu"),
    "gpu_count": ("2", 2),
    "workers": ("3", 3),
    "watchdog_seconds": ("45", 45.0),
    "torch_threads": ("3", 3),
    "max_sequence_length": ("64", 64),
    "prompt_cache_bytes": ("0", 0),
    "cache_dir": ("/var/cache/costs", Path("/var/cache/costs")),
    "quantize": ("int8wo", Quantize("int8wo")),
    "compile": ("blocks", "blocks"),
    "compile_cache": ("/cache", Path("/cache")),
    "attention": ("native", "native"),
    "tf32": ("true", True),
    "offload": ("text", "text"),
    "cuda_graphs": ("auto", "auto"),
    "vae_tiling": ("true", True),
    "vae_channels_last": ("false", False),
    "pace": ("0.05,0.02", Pace(0.05, 0.02)),
    "served_model_name": ("flux, gpt-image-1,flux", ("flux", "gpt-image-1")),
    "batch_size": ("4", 4),
    "batch_size_min": ("2", 2),
    "batch_size_max": ("16", 16),
    "knee_gain": ("0.01", 0.01),
    "decode_batch_size": ("4", 4),
    "max_queue_seconds": ("12.5", 12.5),
    "max_waiting": ("7", 7),
    "drain_seconds": ("60", 60.0),
    "max_steps": ("20", 20),
    "max_images": ("2", 2),
    "min_side": ("64", 64),
    "max_pixels": ("65536", 65536),
    "default_size": ("128x64", Size(128, 64)),
    "image_formats": ("webp,png", ("webp", "png")),
    "max_prompt_chars": ("1000", 1000),
    "max_body_bytes": ("4096", 4096),
    "host": ("127.0.0.1", "127.0.0.1"),
    "port": ("9000", 9000),
    "admin_port": ("9001", 9001),
    "admin_token_file": ("/run/token", Path("/run/token")),
    "connection_close": ("false", False),
    "encoder_threads": ("4", 4),
    "namespace": ("art", "art"),
    "pool": ("studio", "studio"),
    "pod_uid": ("uid-1", "uid-1"),
    "log_format": ("json", "json"),
    "log_level": ("debug", "debug"),
    "termination_log": ("/tmp/message", Path("/tmp/message")),
}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[ServeSettings]:
    """The settings of each `serve` that began."""
    calls: list[ServeSettings] = []

    def serve(settings: ServeSettings) -> int:
        calls.append(settings)
        return 0

    monkeypatch.setattr(lifecycle, "serve", serve)
    return calls


def flag(name: str, text: str) -> str:
    dashed = name.replace("_", "-")
    if text in {"true", "false"}:
        return f"--{dashed}" if text == "true" else f"--no-{dashed}"
    return f"--{dashed}={text}"


def understood(settings: ServeSettings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in OPTIONS}


EXPECTED = {name: value for name, (_, value) in OPTIONS.items()}


def test_every_option_is_a_flag(served: list[ServeSettings]) -> None:
    assert OPTIONS.keys() | {"admin_token"} == ServeSettings.model_fields.keys()
    assert cli.main(["serve", *(flag(name, text) for name, (text, _) in OPTIONS.items())]) == 0
    assert understood(served[0]) == EXPECTED


def test_every_option_is_a_variable(served: list[ServeSettings], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (text, _) in OPTIONS.items():
        monkeypatch.setenv("FLUXPOOL_" + name.upper(), text)
    assert cli.main(["serve"]) == 0
    assert understood(served[0]) == EXPECTED


def test_none_of_these_values_is_the_default_so_that_each_proves_its_option() -> None:
    defaults = understood(ServeSettings(model="m"))
    assert [name for name in OPTIONS if defaults[name] == EXPECTED[name]] == []


def test_the_engine_is_told_every_option_that_it_has() -> None:
    arguments = {name: text for name, (text, _) in OPTIONS.items()}
    config = ServeSettings.model_validate(arguments).engine_config()
    unchanged = {
        field.name
        for field in dataclasses.fields(EngineConfig)
        if getattr(config, field.name) == getattr(EngineConfig("m"), field.name)
    }
    assert unchanged == {"token"}  # from HF_TOKEN
    renamed = {"threads": "torch_threads"}
    for field in dataclasses.fields(EngineConfig):
        option = renamed.get(field.name, field.name)
        if option in OPTIONS:
            expected = EXPECTED[option]
            assert getattr(config, field.name) == (str(expected) if isinstance(expected, Path) else expected), option
    assert (config.default_width, config.default_height) == (128, 64)


def test_workers_that_are_no_gpus_are_refused_with_what_is_possible(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--model", "m", "--workers", "3", "--gpu-count", "2"]) == 2
    assert "workers must be gpu_count, 2, unless device is cpu, and is 3" in capsys.readouterr().err


def test_the_flag_wins_over_the_variable(served: list[ServeSettings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXPOOL_MAX_STEPS", "20")
    assert cli.main(["serve", "--model=m", "--max-steps=30"]) == 0
    assert served[0].max_steps == 30


def test_an_empty_variable_is_an_absent_one(served: list[ServeSettings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXPOOL_REVISION", "")
    monkeypatch.setenv("FLUXPOOL_MAX_STEPS", "")
    assert cli.main(["serve", "--model=m"]) == 0
    assert (served[0].revision, served[0].max_steps) == (None, 50)


def test_the_variables_that_kubernetes_makes_for_a_service_named_fluxpool_are_no_options(
    served: list[ServeSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXPOOL_PORT", "tcp://10.96.0.7:80")
    monkeypatch.setenv("FLUXPOOL_ADMIN_PORT", "tcp://10.96.0.8:80")
    monkeypatch.setenv("FLUXPOOL_SERVICE_HOST", "10.96.0.7")
    assert cli.main(["serve", "--model=m"]) == 0
    assert (served[0].port, served[0].admin_port) == (8000, 8001)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "fluxpool-inference: the following arguments are required: serve|tiny-model"),
        (["server"], "invalid choice: 'server'"),
        (["serve", "--models=m"], "fluxpool-inference: unrecognized arguments: --models=m"),
        (["serve", "--mod=m"], "unrecognized arguments: --mod=m"),
        (["serve"], "fluxpool-inference serve: --model (or FLUXPOOL_MODEL) is required"),
        (["serve", "--model="], "--model must have at least 1 character"),
        (["serve", "--model=m", "--max-steps"], "argument --max-steps: expected one argument"),
        (["serve", "--model=m", "--max-steps=many"], "--max-steps must be a valid integer"),
        (["serve", "--model=m", "--max-steps=0"], "--max-steps must be greater than or equal to 1"),
        (["serve", "--model=m", "--max-queue-seconds=nan"], "--max-queue-seconds must be a finite number"),
        (["serve", "--model=m", "--dtype=int8"], "--dtype must be 'bfloat16', 'float16' or 'float32'"),
        (["serve", "--model=m", "--image-formats=png,gif"], "--image-formats must be 'png', 'jpeg' or 'webp'"),
        (["serve", "--model=m", "--image-formats=,"], "--image-formats must have at least 1 item"),
        (["serve", "--model=m", "--pace=1"], "--pace must be two numbers of seconds, A,C, such as 0.05,0.02"),
        (["serve", "--model=m", "--pace=-1,2"], "--pace seconds must be 0 to 3600 and not both 0"),
        (["serve", "--model=m", "--pace=nan,1"], "--pace seconds must be 0 to 3600"),
        (["serve", "--model=m", "--pace=0,0"], "--pace seconds must be 0 to 3600"),
        (["serve", "--model=m", "--default-size=big"], "--default-size must be WIDTHxHEIGHT in pixels"),
        (["serve", "--model=m", "--default-size=250x256"], "default_size must have a width and height divisible by 16"),
        (["serve", "--model=m", "--default-size=64x64"], "default_size must have a width and height of at least 256"),
        (["serve", "--model=m", "--batch-size=99"], "batch_size must be batch_size_min to batch_size_max, 1 to 64"),
        (["serve", "--model=m", "--batch-size=1", "--batch-size-min=2"], "2 to 64, and is 1"),
        (["serve", "--model=m", "--admin-token=t", "--admin-token-file=f"], "exclude each other"),
        (["serve", "--model=m", "--quantize=int4"], "--quantize must be one of none, int8wo, int8, fp8, bnb-nf4"),
        (["serve", "--model=m", "--quantize=gguf"], "bnb-fp4, gguf:FILE"),
        (["serve", "--model=m", "--quantize=int8:file"], "--quantize must be one of"),
        (["serve", "--model=m", "--quantize=fp8"], "quantize is fp8, for which compile must be blocks"),
        (["serve", "--model=m", "--quantize=int8"], "quantize is int8, for which compile must be blocks"),
        (["serve", "--model=m", "--compile=all"], "--compile must be 'off' or 'blocks'"),
        (["serve", "--model=m", "--attention=magic"], "--attention must be 'native', 'cudnn', 'flash2', 'flash3'"),
        (["serve", "--model=m", "--cuda-graphs=on"], "--cuda-graphs must be 'off' or 'auto'"),
        (["serve", "--model=m", "--offload=group", "--cuda-graphs=auto"], "for which cuda_graphs must be off"),
        (["serve", "--model=m", "--offload=vae"], "--offload must be 'none', 'text' or 'group'"),
        (["serve", "--model=m", "--offload=group", "--compile=blocks"], "for which compile must be off"),
        (["serve", "--model=m", "--offload=group", "--quantize=int8wo"], "for which compile must be off and quantize"),
        (["tiny-model"], "fluxpool-inference tiny-model: the following arguments are required: directory"),
        (["tiny-model", "/proc/none/model"], "/proc/none/model cannot be made a directory"),
        (["tiny-model", __file__], "cannot be made a directory: File exists"),
        (["tiny-model", "d", "--seed=-1"], "argument --seed: must be an integer from 0 to 2**64 - 1"),
        (["tiny-model", "d", f"--seed={2**64}"], "argument --seed: must be an integer from 0 to 2**64 - 1"),
        (["tiny-model", "d", "--size=large"], "argument --size: invalid choice: 'large'"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_a_wrong_command_line_exits_with_2_and_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], served: list[ServeSettings]
) -> None:
    try:
        code: object = cli.main(arguments)
    except SystemExit as ended:
        code = ended.code
    output = capsys.readouterr()
    assert code == 2
    assert output.out == ""
    assert says in output.err
    assert output.err.startswith("fluxpool-inference")
    assert output.err.count("\n") == 1
    assert served == []


def test_a_wrong_variable_is_named_as_its_user_wrote_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXPOOL_MAX_STEPS", "1001")
    assert cli.main(["serve", "--model=m"]) == 2
    assert "serve: FLUXPOOL_MAX_STEPS must be less than or equal to 1000\n" in capsys.readouterr().err


def test_a_wrong_token_is_not_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXPOOL_ADMIN_TOKEN", "very secret")
    assert cli.main(["serve", "--model=m", "--admin-token-file=f"]) == 2
    assert "secret" not in capsys.readouterr().err
    assert "very secret" not in repr(ServeSettings(model="m"))


@pytest.mark.parametrize("by_variable", [False, True])
def test_a_wrong_option_leaves_the_reason_where_kubernetes_looks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_variable: bool
) -> None:
    message = tmp_path / "termination-log"
    message.touch()
    arguments = ["serve", "--model=m", "--max-steps=0"]
    if by_variable:
        monkeypatch.setenv("FLUXPOOL_TERMINATION_LOG", str(message))
    else:
        arguments.append(f"--termination-log={message}")
    assert cli.main(arguments) == 2
    assert json.loads(message.read_text()) == {
        "reason": "InvalidConfiguration",
        "message": "--max-steps must be greater than or equal to 1",
    }


def test_the_help_has_every_option_with_its_variable_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name in ServeSettings.model_fields:
        assert f"--{name.replace('_', '-')}" in text
        assert f"[FLUXPOOL_{name.upper()}]" in text
    assert "(default: png,jpeg,webp)" in text
    assert "(default: 1024x1024)" in text
    assert "(default: 30)" in text
    assert "--max-queue-seconds SECONDS" in text
    assert "--knee-gain SHARE" in text


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, VERSION + "\n")


def test_the_exit_code_is_that_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "serve", lambda settings: 3)
    assert cli.main(["serve", "--model=m"]) == 3


def test_tiny_model_passes_its_options_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Path, dict[str, object]]] = []
    module = ModuleType("fluxpool_inference.tiny_model")  # the real one imports torch
    module.write_tiny_model = lambda directory, **options: calls.append((directory, options))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    target = tmp_path / "models" / "tiny"
    assert cli.main(["tiny-model", str(target), "--schnell", "--size=small", "--seed=7"]) == 0
    assert calls == [(target, {"schnell": True, "size": "small", "seed": 7})]
    assert target.is_dir()
