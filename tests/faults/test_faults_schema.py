"""What the OpenAPI document says is what the service does: requests made from it, sound and unsound, in a fixed order.

Minutes of the same, by hand: `schemathesis run URL/openapi.json --max-time 300 --checks ...` as below.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fault_checks import Shop

from tests.faults.attacks import victim

CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")


@pytest.mark.full
def test_requests_made_from_the_document_are_answered_as_it_says(shop: Shop, tmp_path: Path) -> None:
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert program is not None, "the extra `dev` is not installed"
    command = [
        program,
        "run",
        "--checks",
        ",".join(CHECKS),
        "--phases",
        "examples,coverage,fuzzing",
        "--max-examples",
        "10",
    ]
    command += ["--generation-deterministic", "--continue-on-failure", "--request-timeout", "30", "--no-color"]
    config = "[serving]\ndeadline_ms = 30000\n"
    with victim(shop.bundles, tmp_path / "data", config) as service:
        url = f"{service.url}/openapi.json"
        done = subprocess.run([*command, url], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6_000:]
