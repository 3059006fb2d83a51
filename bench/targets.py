"""What is measured: one entry a target. To add one, add an entry and run `cargo xtask bench NAME`.

name     what the table shows
command  start command, run in `folder` with `environment` added to ours; None: the mock itself
port     where it listens on 127.0.0.1
path     of chat completions
model    the model name that it maps to the mock
headers  extra request headers, such as its own API key
extra    extra fields of the request body
key      options of the gateway key that is made before it starts; None: no key
version  shell command that prints the version

The upstream is the mock at MOCK: /v1 in OpenAI's dialect and in Anthropic's, /api in Ollama's.
"""

import dataclasses
import os
import pathlib
import shlex

BENCH = pathlib.Path(__file__).resolve().parent
RUN = BENCH / "run"
MOCK_PORT = 9100
MOCK = f"http://127.0.0.1:{MOCK_PORT}"
GATEWAY = os.environ.get("GATEWAY_BINARY", "llm-gateway")


@dataclasses.dataclass
class Target:
    name: str
    port: int
    command: list[str] | None
    version: str
    path: str = "/v1/chat/completions"
    model: str = "gpt-4o-mini"
    folder: pathlib.Path = BENCH
    environment: dict = dataclasses.field(default_factory=dict)
    headers: dict = dataclasses.field(default_factory=dict)
    extra: dict = dataclasses.field(default_factory=dict)
    key: list[str] | None = None


# Limits and budgets that are checked for every request and never reached.
KEY = ["--budget-usd", "1000000", "--budget-tokens", "1000000000000", "--rpm", "1000000000", "--tpm", "1000000000",
       "--max-concurrent", "100000"]


def ours(name: str, port: int, model: str, key: list[str] | None) -> Target:
    """The gateway, cache off so that every request goes upstream, in an empty folder so that no .env is read.

    With `key` every request is authenticated by a key of those limits and budgets.
    """
    folder = RUN / name
    return Target(
        name, port, [GATEWAY, "serve"], f"{shlex.quote(GATEWAY)} --version", model=model, folder=folder,
        extra={"x-cache": False}, key=key,
        environment={
            "PORT": str(port), "HOST": "127.0.0.1", "LOG_LEVEL": "warn",
            "OPENAI_API_KEY": "sk-mock", "OPENAI_BASE_URL": f"{MOCK}/v1", "OLLAMA_URL": MOCK,
            "ANTHROPIC_API_KEY": "sk-mock", "ANTHROPIC_BASE_URL": f"{MOCK}/v1",
        },
    )


DIRECT = Target("direct", MOCK_PORT, None, "echo mock")
# The physical limit: plain reverse proxies that read no request.
TARGETS = [
    DIRECT,
    Target("nginx", 9201, ["nginx", "-p", str(BENCH), "-e", "run/nginx.err", "-c", "conf/nginx.conf", "-g", "daemon off;"],
           "nginx -v 2>&1"),
    Target("haproxy", 9202, ["haproxy", "-db", "-f", "conf/haproxy.cfg"], "haproxy -v | head -1"),
    ours("ours", 9210, "openai/gpt-4o-mini", KEY),
]
# Measured only when named: every chunk translated from another dialect.
ON_REQUEST = [
    ours("ours-ollama", 9211, "ollama/llama3.2", KEY),
    ours("ours-anthropic", 9213, "anthropic/claude-haiku-4-5", KEY),
    ours("ours-open", 9212, "openai/gpt-4o-mini", None),
]


def peers(folder: pathlib.Path) -> list[Target]:
    """Other gateways, those that are installed under that folder; the README says how they get there."""
    litellm, portkey, hub = folder / "litellm-venv/bin", folder / "portkey/node_modules/@portkey-ai/gateway", folder / "hub"
    every = {
        litellm: Target(
            "litellm", 9204,
            [f"{litellm}/litellm", "--config", f"{BENCH}/conf/litellm.yaml", "--host", "127.0.0.1", "--port", "9204"],
            f"{litellm}/python -c 'import importlib.metadata as m; print(m.version(\"litellm\"))'",
            environment={"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                         "LITELLM_TELEMETRY": "False"},
            headers={"Authorization": "Bearer sk-bench-1234"},
        ),
        portkey: Target(
            "portkey", 9206, ["node", "build/start-server.js", "--port=9206", "--headless"],
            "node -p 'require(\"./package.json\").version'", folder=portkey, environment={"NODE_ENV": "production"},
            headers={"x-portkey-provider": "openai", "x-portkey-custom-host": f"{MOCK}/v1",
                     "Authorization": "Bearer sk-mock"},
        ),
        hub: Target(
            "hub", 9208, [f"{hub}/target/release/hub"], f"git -C {hub} describe --always --tags",
            path="/api/v1/chat/completions",
            environment={"PORT": "9208", "CONFIG_FILE_PATH": f"{BENCH}/conf/hub.yaml", "RUST_LOG": "error"},
        ),
    }
    return [target for place, target in every.items() if place.exists()]


def chosen(names: list[str]) -> list[Target]:
    """The named targets, or all but those on request. ValueError names one that does not exist."""
    always = TARGETS + peers(pathlib.Path(os.environ.get("PEERS", pathlib.Path.home() / "peers")))
    if not names:
        return always
    known = {target.name: target for target in always + ON_REQUEST}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no target `{unknown[0]}`; there are {', '.join(known)}")
    return [known[name] for name in names]
