"""Our SDK for Node against a real service: its own tests (sdk/node/test) on both majors of openai; how it installs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from service import Service, serving
from upstream import providing

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SDK = ROOT / "sdk" / "node"
MODELS = ("gpt-4o", "fail-500", "fail-503", "silent")  # the tests here ask a failing one four times; 5 open its breaker

# The product's documentation, to the letter but for the titles: they begin with #, which is no comment in JavaScript.
STREAMING = """\
import TechStoneAI from '@techstoneai/sdk';

const client = new TechStoneAI({ apiKey: 'your-api-key' });

const stream = await client.chat.completions.create({
  model: 'gpt-4o',
  messages: [{ role: 'user', content: 'Write a poem about AI' }],
  stream: true,
});

for await (const chunk of stream) {
  const content = chunk.choices[0]?.delta?.content || '';
  process.stdout.write(content);
}
console.log(); // Newline after streaming completes
"""
SWITCHING = """\
import TechStoneAI from '@techstoneai/sdk';

const client = new TechStoneAI({
  apiKey: process.env.TECHSTONE_API_KEY,
  baseURL: process.env.API_BASE_URL,  // Set in your environment
});

// Everything else works exactly the same
const response = await client.chat.completions.create({
  model: 'gpt-4o',
  messages: [{ role: 'user', content: 'Hello!' }],
});
"""


def run(folder: Path, *command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command without what this machine's environment says of OpenAI and TechStone."""
    kept = {name: value for name, value in os.environ.items() if not re.match("OPENAI_|TECHSTONE_|API_BASE_URL", name)}
    return subprocess.run(
        command, cwd=folder, env=kept | (env or {}), check=False, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with providing() as (url, _):
        text = f'[[providers]]\nname = "up"\nbase_url = "{url}"\n' + "".join(
            f'[[models]]\nname = "{name}"\nroutes = [{{ provider = "up", model = "{name}" }}]\n'
            'price = { input = "2.50", output = "10" }\n'
            for name in MODELS
        )
        with serving(tmp_path_factory.mktemp("sdk_node"), text) as service:
            yield service


@pytest.fixture(params=["6", "7"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """Lay out a project with the built SDK, its tests and one major of openai; 7 wants Node 22, and runs on 20."""
    installed = tmp_path / "node_modules" / "@techstoneai" / "sdk"
    shutil.copytree(SDK / "dist", installed / "dist")
    shutil.copy(SDK / "package.json", installed)
    openai = ROOT / "tests" / "node" / "node_modules" / ("openai" if request.param == "6" else "openai-7")
    (tmp_path / "node_modules" / "openai").symlink_to(openai)
    for name in ("typescript", "zod"):
        (tmp_path / "node_modules" / name).symlink_to(SDK / "node_modules" / name)
    for name in ("src", "test"):
        shutil.copytree(SDK / name, tmp_path / name)
    return tmp_path, request.param


def test_it_does_what_openais_sdk_does_and_what_it_adds(project: tuple[Path, str], service: Service) -> None:
    """One body of tests for both clients, with and without /v1; then the client, its metering, management and types."""
    folder, major = project
    limited = service.ask("key", "create", "--account", "owner@localhost", "--models", "fail-500")["key"]
    environment = {
        "OPENAI_MAJOR": major,
        "SERVICE_URL": service.url + ("" if major == "6" else "/v1/"),
        "SERVICE_KEY": service.key,
        "SERVICE_LIMITED_KEY": limited,
        "SPEC": str(ROOT / "spec"),
        # Links are kept, so that openai finds the project's zod and not its own folder's.
        "NODE_OPTIONS": "--preserve-symlinks --preserve-symlinks-main",
    }
    tests = [f"test/{path.name}" for path in sorted((folder / "test").glob("*.test.mjs"))]
    done = run(folder, "node", "--test", "--test-reporter=spec", *tests, env=environment)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    assert "skipped 0\n" in done.stdout


def test_a_clone_installs_and_the_documentation_works(service: Service, tmp_path: Path) -> None:
    """`npm install` of a folder without packages or dist into an empty one; the examples do what they promise."""
    clone, project = tmp_path / "clone" / "sdk" / "node", tmp_path / "project"
    shutil.copytree(SDK, clone, ignore=shutil.ignore_patterns("node_modules", "dist"))
    project.mkdir()
    # Set-up filled npm's cache; with it, this needs no network.
    done = run(project, "npm", "install", str(clone), "--prefer-offline", "--no-audit", "--no-fund")
    assert done.returncode == 0, done.stdout + done.stderr

    admin = service.ask("key", "create", "--account", "owner@localhost", "--admin")["key"]
    there = {"API_BASE_URL": service.url, "TECHSTONE_API_KEY": service.key, "TECHSTONE_ADMIN_KEY": admin}

    def execute(source: str) -> subprocess.CompletedProcess[str]:
        (project / "example.mjs").write_text(source)
        return run(project, "node", "example.mjs", env=there)

    assert "AuthenticationError: 401" in execute(STREAMING).stderr  # 'your-api-key' is nobody's
    streamed = execute(STREAMING.replace("your-api-key", service.key))
    assert (streamed.stdout, streamed.stderr) == ("Hello.\n", "")
    switched = execute(SWITCHING + "console.log(response.choices[0].message.content);\n")
    assert (switched.stdout, switched.stderr) == ("Hello.\n", "")

    blocks = re.findall(r"^```js\n(.*?)^```$", (SDK / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    readme = execute("\n".join(blocks))
    assert readme.returncode == 0, readme.stderr
    for line in ("Hello.", "0.0000425", "404 model_not_found req_", "\nts_live_", " active\n", "\ngpt-4o "):
        assert line in readme.stdout
    required = "const TechStoneAI = require('@techstoneai/sdk'); console.log(new TechStoneAI().baseURL)"
    assert run(project, "node", "-e", required, env=there).stdout == f"{service.url}/v1\n"
