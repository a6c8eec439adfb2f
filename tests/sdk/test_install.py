"""The package as its users get it: built, installed into an empty environment, and used as the product's pages say."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.sdk.conftest import Deployment

SDK = Path(__file__).parents[2] / "sdk" / "python"
UV = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"

# Word for word as the product's page has them.
STREAMING = """
# Streaming with Python SDK
from techstoneai import TechStoneAI

client = TechStoneAI(api_key="your-api-key")

stream = client.chat.completions.create(
    model="gpt-4o",
    messages=[{"role": "user", "content": "Write a poem about AI"}],
    stream=True
)

for chunk in stream:
    content = chunk.choices[0].delta.content
    if content:
        print(content, end="", flush=True)
print()  # Newline after streaming completes
"""
SWITCHING = """
# Python: Switch from OpenAI to TechStone
from techstoneai import TechStoneAI  # Drop-in replacement!
import os

# Just change the client initialization
client = TechStoneAI(
    api_key=os.environ.get("TECHSTONE_API_KEY"),
    base_url=os.environ.get("API_BASE_URL")  # Set in your environment
)

# Everything else works exactly the same
response = client.chat.completions.create(
    model="gpt-4o",  # Same model names
    messages=[{"role": "user", "content": "Hello!"}]
)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of a new environment that has the SDK and what it needs, in the versions of our lock."""
    folder = tmp_path_factory.mktemp("installed")
    python = folder / "venv" / "bin" / "python"
    needed = ("openai", "httpx2", "pydantic", "anyio", "jiter", "sniffio", "typing-extensions")
    constraints = folder / "constraints.txt"
    constraints.write_text("".join(f"{name}=={importlib.metadata.version(name)}\n" for name in needed))
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")], check=True)
    command = [UV, "pip", "install", "--quiet", "--system-certs", "--python", str(python)]
    command += ["--constraint", str(constraints), str(SDK)]
    # Set-up left all of it in uv's cache; where that was cleaned since, the network is needed.
    offline = subprocess.run([*command, "--offline"], check=False, capture_output=True)
    if offline.returncode:
        subprocess.run(command, check=True)
    return python


def run(python: Path, program: str, deployment: Deployment) -> str:
    environment = {
        "TECHSTONE_API_KEY": deployment.key,
        "API_BASE_URL": deployment.service.url,
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        [str(python), "-c", program], check=False, capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_examples_of_the_product_work_as_written(python: Path, deployment: Deployment) -> None:
    """Both, but for the placeholder of the key; the base URL comes from the environment, without /v1."""
    assert run(python, STREAMING.replace("your-api-key", deployment.key), deployment) == "Hello.\n"
    assert run(python, SWITCHING + "print(response.choices[0].message.content)", deployment) == "Hello.\n"


def test_package_is_whole(python: Path) -> None:
    """Types, stubs and the command come along; nothing but openai is needed."""
    site = next((python.parents[1] / "lib").glob("python*/site-packages"))
    assert {"py.typed", "_chat.pyi", "_options.pyi"} <= {path.name for path in (site / "techstoneai").iterdir()}
    assert (
        "usage: techstoneai"
        in subprocess.run(
            [str(python.with_name("techstoneai")), "--help"], check=True, capture_output=True, text=True
        ).stdout
    )
    required = importlib.metadata.requires("techstoneai")
    assert required is not None
    assert [re.split(r"[<>=]", name)[0] for name in required] == ["openai"]


def test_examples_of_the_readme_work(deployment: Deployment) -> None:
    """Every block, one after the other, with this service's address and keys for the placeholders."""
    blocks = re.findall(r"```python\n(.*?)```", (SDK / "README.md").read_text(), re.DOTALL)
    program = "\n".join(blocks).replace("https://api.example.com/v1", deployment.url)
    program = program.replace("ts_live_...", deployment.key).replace("ts_admin_...", deployment.admin)
    names: dict[str, object] = {}
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123 - a device
        exec(program, names)  # noqa: S102 - our own README
    for name in ("client", "admin"):
        names[name].close()  # type: ignore[attr-defined] # a client
    assert len(blocks) >= 4
