"""The measurements of one target, from start to stop; one dict of figures.

Latencies are differences to runs against the mock itself, made just before and after.
"""

import json
import os
import shutil
import subprocess
import time
import urllib.request

import processes
from targets import BENCH, DIRECT, MOCK, RUN, Target

PROGRAMS = BENCH / "target/release"
SYSTEM = (
    "You are a support assistant of a shop that sells tools. Answer in at most three sentences, name the article number "
    "when you know it, never promise a date. "
) * 3
QUESTION = "A customer writes: my cordless drill stops after ten minutes and the battery is hot. What should I tell him? "


def body(target: Target) -> dict:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
    return {"model": target.model, "messages": messages, "temperature": 0.7, "max_tokens": 256, **target.extra}


def stream_body(target: Target, chunks: int, delay_ms: int) -> dict:
    streamed = body(target) | {"stream": True, "stream_options": {"include_usage": True}}
    streamed["messages"][1]["content"] += f"[mock chunks={chunks} delay_ms={delay_ms}]"
    return streamed


def headers(target: Target) -> dict:
    return {"Content-Type": "application/json", **target.headers}


def url(target: Target) -> str:
    return f"http://127.0.0.1:{target.port}{target.path}"


# --- start and stop ---
def _make_key(target: Target, environment: dict) -> None:
    """In an empty data directory, so that every start finds the same."""
    shutil.rmtree(target.folder / "data", ignore_errors=True)
    command = [target.command[0], "keys", "create", "--name", "bench", *target.key]
    made = subprocess.run(command, cwd=target.folder, env=environment, capture_output=True, text=True, check=True)
    target.headers["Authorization"] = f"Bearer {made.stdout.strip()}"


def start(target: Target) -> tuple[subprocess.Popen, float]:
    """The process, and the seconds until it served its first request."""
    target.folder.mkdir(parents=True, exist_ok=True)
    log = RUN / f"{target.name}.log"
    environment = {**_environment(), **target.environment}
    if target.key is not None:
        _make_key(target, environment)
    began = time.monotonic()
    process = processes.launch(target.command, log, cwd=target.folder, env=environment)
    request = urllib.request.Request(url(target), json.dumps(body(target)).encode(), headers(target))
    last = None
    while time.monotonic() - began < 60 and process.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                response.read()
                return process, time.monotonic() - began
        except OSError as error:
            last = error
        time.sleep(0.005)
    processes.stop(process)
    raise RuntimeError(f"{target.name} did not serve: {last}; see {log}")


def _environment() -> dict:
    """Ours, less what would configure the gateway behind our back."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "LLM_GATEWAY_"))}


# --- load ---
def load(target: Target, mode: str, payload: dict, **options) -> dict:
    file = RUN / "body.json"
    file.write_text(json.dumps(payload))
    command = [PROGRAMS / "load", mode, "--port", str(target.port), "--path", target.path, "--body", file]
    for name, value in target.headers.items():
        command += ["--header", f"{name}: {value}"]
    for name, value in options.items():
        command += ["--" + name.replace("_", "-"), str(value)]
    return json.loads(_output(command, 180))


def closed_loop(target: Target, seconds: int, connections: int) -> dict:
    """wrk: each connection sends its next request when the last one is answered."""
    script = RUN / "wrk.lua"
    lines = ["wrk.method = 'POST'", f"wrk.body = [==[{json.dumps(body(target))}]==]"]
    lines += [f"wrk.headers['{name}'] = [==[{value}]==]" for name, value in headers(target).items()]
    lines += [
        "done = function(summary)",
        "  local e = summary.errors",
        "  local bad = e.connect + e.read + e.write + e.status + e.timeout",
        """  io.write('JSON ', string.format('{"n":%d,"secs":%f,"bad":%d}', summary.requests, summary.duration / 1e6, bad))""",
        "end",
    ]
    script.write_text("\n".join(lines) + "\n")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", script, url(target)]
    return json.loads(_output(command, seconds + 60).split("JSON ", 1)[1])


def _output(command: list, limit: int) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=True,
                          preexec_fn=processes.go_first)
    return done.stdout


def against_direct(target: Target, make_body, **options) -> dict:
    """Direct, target, direct: the target's percentiles less the mean of the direct ones, in microseconds."""
    before, own, after = (load(t, "open", make_body(t), **options) for t in (DIRECT, target, DIRECT))
    added = {
        metric: {share: own[metric][share] - (before[metric][share] + after[metric][share]) / 2 for share in own[metric]}
        for metric in ("latency_us", "ttfb_us")
    }
    return {"own": own, "added": added, "ok": own["ok"], "bad": own["non200"] + own["errors"]}


def upstream_requests() -> int:
    with urllib.request.urlopen(f"{MOCK}/__stats") as response:
        return json.load(response)["requests"]


# --- the measurements ---
def measure(target: Target, mock: subprocess.Popen, quick: bool) -> dict:
    target.folder.mkdir(parents=True, exist_ok=True)
    version = subprocess.run(target.version, shell=True, capture_output=True, text=True, cwd=target.folder)
    figures = {"name": target.name, "at": time.strftime("%F %T"), "version": version.stdout.strip()}
    process = mock
    if target.command:
        process, figures["start_s"] = start(target)
    try:
        time.sleep(2)
        figures["idle_mib"] = processes.memory_mib(process.pid)
        closed_loop(target, 2, 8)
        figures |= low_rate(target, process.pid, mock.pid, 3 if quick else 8)
        figures["closed"] = saturated(target, process.pid, mock.pid, 3 if quick else 8)
        first = {"rate": 20, "secs": 2 if quick else 6}
        figures["first_byte"] = against_direct(target, lambda t: stream_body(t, 10, 10), **first)
        figures["chunks"] = chunks(target, process.pid, mock.pid)
        if target.command:
            # A fresh process: memory freed by the load before would hide what streams take.
            processes.stop(process)
            process, _ = start(target)
        figures["streams"] = slow_streams(target, process.pid, mock.pid)
    finally:
        if process is not mock:
            processes.stop(process)
    return figures


def low_rate(target: Target, session: int, mock: int, seconds: float) -> dict:
    """Added latency at 200 requests a second; a target that cannot keep that up is asked again at 50."""
    for rate in (200, 50):
        with processes.Watch(session, mock) as watch:
            result = against_direct(target, body, rate=rate, secs=seconds)
        result |= {"rate": rate, "cpu_us": 1e6 * watch.cpu / max(1, result["ok"]), "other": watch.other}
        if result["own"]["latency_us"]["p50"] < 50_000 and result["own"]["secs"] < seconds + 1:
            break
    return {"low_rate": result}


def saturated(target: Target, session: int, mock: int, seconds: int) -> dict:
    """CPU per request with 64 connections that never pause. Requests that did not reach the mock are `missing`."""
    served = upstream_requests()
    with processes.Watch(session, mock) as watch:
        result = closed_loop(target, seconds, 64)
    result["missing"] = max(0, result["n"] - (upstream_requests() - served))
    return result | {
        "rps": result["n"] / result["secs"], "cpu_us": 1e6 * watch.cpu / max(1, result["n"]),
        "peak_mib": watch.peak_mib, "other": watch.other,
    }


def chunks(target: Target, session: int, mock: int) -> dict:
    """CPU per streamed chunk: 50 streams of 200 chunks, 20 ms apart, so 2,500 chunks a second."""
    count, length = 50, 200
    with processes.Watch(session, mock) as watch:
        result = load(target, "streams", stream_body(target, length, 20), count=count, chunks=length, ramp_ms=200)
    return result | {"cpu_us": 1e6 * watch.cpu / (count * length), "other": watch.other}


def slow_streams(target: Target, session: int, mock: int) -> dict:
    """1,000 streams of 20 chunks, 100 ms apart, opened over 1 s: 3.0 s when nothing is in the way."""
    count = 1000
    load(target, "streams", stream_body(target, 20, 20), count=50, chunks=20)
    with processes.Watch(session, mock) as watch:
        result = load(target, "streams", stream_body(target, 20, 100), count=count, chunks=20, ramp_ms=1000)
    return result | {"kib_per_stream": 1024 * (watch.peak_mib - watch.start_mib) / count, "other": watch.other}
