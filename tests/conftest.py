"""For all tests: a behaviour that does not hold shows its values, though it stands in no test file; so does what was measured.

And how `pytest -n 2` deals them out: one process waits for containers while the other computes.
"""

import resource
import subprocess
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.certificates import make_certificates
from tests.measured import measured

pytest.register_assert_rewrite(
    *(f"tests.executors.{name}" for name in ("listing", "on_calls", "on_ends", "on_futures", "on_map")), "tests.hostile.honest"
)

DESCRIPTORS = 1024
"""What a login has on most systems: who leaves descriptors open is found out here, however many this machine allows."""


ON_DOCKER = ("tests/cluster/", "tests/dashboard_page/", "tests/deploy/", "tests/monitoring/", "tests/swarm/")


class Dealer(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a file's tests to one process, since they share its fixtures, and all that need Docker to the same one: names of
    projects, published ports and the engine's load are theirs alone. So are those of a browser: Chromium breaks off whatever it
    loads, and its connections, when the network of a container comes or goes (net::ERR_NETWORK_CHANGED)."""

    def _split_scope(self, nodeid: str) -> str:
        return "on docker" if nodeid.startswith(ON_DOCKER) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Dealer:
    # In the order of the folders, not the largest file first: those on Docker take longest, and are the fewest.
    config.option.loadscopereorder = False
    return Dealer(config, log)


def pytest_configure() -> None:
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, allowed), most))


@pytest.fixture(scope="session")
def audit_python() -> Path:
    """The interpreter of the environment that `make audit` and `make sbom` use, made where it is missing or old."""
    root = Path(__file__).parents[1]
    subprocess.run(["make", "--silent", ".venv-audit/.installed"], cwd=root, check=True, capture_output=True)
    return root / ".venv-audit/bin/python"


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA's certificate, and its certificates for a master and for clients."""
    folder = tmp_path_factory.mktemp("tls") / "certs"
    make_certificates(folder)
    return folder


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:  # one of several processes
        output["measured"] = measured


def pytest_testnodedown(node: Any) -> None:
    measured.extend(getattr(node, "workeroutput", {}).get("measured", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if measured:
        terminalreporter.section("measured")
        terminalreporter.write_line("\n".join(measured))
