"""Writes bills of material of images: ``python -m supply.sbom --out build/sbom IMAGE...``.

For each image two files in CycloneDX 1.6: ``NAME.python.cdx.json`` of the virtual environment, by cyclonedx-py, and
``NAME.debian.cdx.json`` of Debian's packages, by debsbom. Both tools read what the image holds, not what was asked for when it
was built; nothing of the image is run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
TOOLS = Path(sys.executable).parent
SCHEMA = SchemaVersion.V1_6


class Invalid(Exception):
    """A document does not keep to CycloneDX's schema."""


class Failed(Exception):
    """A command has failed; holds what it complained of."""


@contextmanager
def container_of(image: str) -> Iterator[str]:
    """A container that is never started, to copy files out of; removed at the end."""
    name = run("docker", "create", "--pull=never", image).strip()
    try:
        yield name
    finally:
        run("docker", "rm", "--force", name)


def run(*command: str) -> str:
    """Run a command that has to succeed; returns what it printed.

    Raises:
        Failed: It did not.
    """
    ended = subprocess.run(command, text=True, capture_output=True)  # debsbom complains of each package without a maintainer
    if ended.returncode != 0:
        raise Failed(f"{Path(command[0]).name} {command[1]}: {ended.stderr.strip()}")
    return ended.stdout


def python_packages(container: str, folder: Path) -> str:
    """The bill of the virtual environment in a container, whose files go into an empty folder."""
    # cyclonedx-py wants an interpreter that runs here: a bare environment of this one's, with the image's packages in it.
    venv.create(folder / "venv", symlinks=True)
    run("docker", "cp", f"{container}:/opt/venv/lib", str(folder))
    (packages,) = folder.glob("lib/python*/site-packages")
    (place,) = folder.glob("venv/lib/python*/site-packages")
    place.rmdir()
    packages.rename(place)
    tool = (str(TOOLS / "cyclonedx-py"), "environment", "--spec-version", SCHEMA.to_version(), "--output-reproducible")
    return run(*tool, "--no-validate", "--pyproject", str(PROJECT), str(folder / "venv"))


def debian_packages(container: str, folder: Path) -> str:
    """The bill of Debian's packages in a container, whose list of them goes into an empty folder."""
    (folder / "var/lib/dpkg").mkdir(parents=True)
    run("docker", "cp", f"{container}:/var/lib/dpkg/status", str(folder / "var/lib/dpkg/status"))
    tool = (str(TOOLS / "debsbom"), "generate", "--sbom-type", "cdx", "--cdx-schema-version", SCHEMA.to_version())
    return run(*tool, "--root", str(folder), "--out", "-")


def validate(document: str) -> None:
    """Hold a document against CycloneDX's schema, and refuse what the schema does not name.

    Raises:
        Invalid: It does not keep to it.
    """
    error = JsonStrictValidator(SCHEMA).validate_str(document)
    if error is not None:
        raise Invalid(str(error))


def write_bills(image: str, out: Path) -> list[Path]:
    """Write both bills of an image; returns where they are.

    Raises:
        Invalid: A tool has made a document that is none; that one is not written.
        Failed: There is no such image, or it lacks what the bills are of.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = []
    with container_of(image) as container:
        for kind, make in (("python", python_packages), ("debian", debian_packages)):
            with tempfile.TemporaryDirectory() as folder:
                document = make(container, Path(folder))
            validate(document)
            written.append(out / f"{image.rpartition('/')[2].partition(':')[0]}.{kind}.cdx.json")
            written[-1].write_text(document)
    return written


def main(words: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m supply.sbom", description="Bills of material of images, in CycloneDX.")
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument("--out", type=Path, default=Path("build/sbom"))
    given = parser.parse_args(words)
    try:
        for image in given.images:
            for file in write_bills(image, given.out):
                print(file)
    except (Failed, Invalid) as error:
        print(f"sbom: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
