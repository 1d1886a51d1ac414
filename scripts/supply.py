"""What the shipped program is made of, from Cargo's own words.

    python3 scripts/supply.py licences > THIRD-PARTY-LICENSES
    python3 scripts/supply.py sbom > wsgate.cdx.json

`licences` writes the licences of the crates whose code is in the program; where one may be had under Apache-2.0, that
is taken, as its text is the same for all. `sbom` writes a CycloneDX 1.6 document, where crates that only help to build
(procedural macros, build scripts) have the scope "excluded". Both write the same bytes for the same commit. Needs
cargo, with the crates downloaded, and Python 3.9.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import textwrap
import uuid
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The shipped targets. The graph is made for both together, because they need the same crates.
TARGETS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]
LICENCE_FILE = re.compile(r"^(LICEN[CS]E|COPYING|NOTICE|COPYRIGHT|UNLICENSE)([._-].*)?$", re.IGNORECASE)
# Folders of sources that are never compiled into the program.
NOT_COMPILED = {"benches", "doc", "docs", "examples", "test", "tests", "tests-data", "util", "tool", "fuzz"}


def run(*command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def tree(edges):
    """Crates that the program needs, as (name, version): those in it, and those that help to build it."""
    shipped, helping = set(), set()
    for target in TARGETS:
        lines = run(
            "cargo", "tree", "--locked", "--package", "wsgate", "--target", target, "--edges", edges, "--no-dedupe",
            "--prefix", "depth", "--format", " {p}",
        ).splitlines()
        macro = None
        for line in lines:
            depth, name, version, *rest = line.split()
            depth, crate = int(depth), (name, version.removeprefix("v"))
            if macro is not None and depth > macro:
                helping.add(crate)
                continue
            macro = depth if "(proc-macro)" in rest else None
            (shipped if macro is None else helping).add(crate)
    return shipped, helping - shipped


def crates():
    """The crates in the program, those that help to build it, and what Cargo knows of each."""
    shipped, _ = tree("normal")
    everything = set().union(*tree("normal,build"))
    metadata = json.loads(run(
        "cargo", "metadata", "--locked", "--format-version", "1",
        *(part for target in TARGETS for part in ("--filter-platform", target)),
    ))
    known = {(package["name"], package["version"]): package for package in metadata["packages"]}
    return shipped, everything - shipped, known, metadata["resolve"]


def expression(package):
    """An SPDX expression; older crates have a slash for "or"."""
    licence = package["license"] or sys.exit(f"{package['name']} names no licence")
    return re.sub(r"\s*/\s*", " OR ", licence)


def texts(package, apache):
    """The texts that come with a crate; where Apache-2.0 was chosen, its notices and what is others' in it."""
    found, folder = [], Path(package["manifest_path"]).parent
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - NOT_COMPILED)
        for name in sorted(files):
            path = Path(place, name)
            if LICENCE_FILE.match(name) and path.suffix not in {".rs", ".c", ".h", ".py", ".in"}:
                # Deeper files belong to another project that the crate contains, such as jemalloc.
                if not apache or "NOTICE" in name.upper() or Path(place) != folder:
                    found.append(path.read_text(encoding="utf-8", errors="replace"))
    if not found and not apache:
        sys.exit(f"{package['name']} brings no licence text, and {expression(package)} asks for one")
    return [text.replace("\r\n", "\n").strip("\n") for text in found]


def licences():
    shipped, _, known, _ = crates()
    shipped = sorted(crate for crate in shipped if crate[0] != "wsgate")
    under_apache, with_texts = [], {}
    for crate in shipped:
        package = known[crate]
        apache = "Apache-2.0" in re.split(r" OR ", expression(package))
        if apache:
            under_apache.append(crate)
        for text in texts(package, apache):
            same = " ".join(text.split())
            with_texts.setdefault(same, (text, []))[1].append(crate)
    say = [textwrap.dedent("""\
        Third-party licences

        wsgate itself is under the Apache License 2.0, in the file LICENSE. The program also has code of the crates
        below. Crates that may be had under one of several licences are used under the Apache License 2.0 where that
        is among them; the others follow with their texts, and notices with those that have one.

        Beside the crates the program has code of Rust's standard library (MIT OR Apache-2.0, the Rust Project
        Developers). The program in the container image is also linked with the GNU C Library (LGPL-2.1-or-later);
        it can be linked with another version of that library by building it from its source, as docs/release.md says.

        This file is written by scripts/supply.py.
        """), "Used under the Apache License 2.0, whose text is in LICENSE:", ""]
    say += [f"  {name} {version} ({expression(known[name, version])})" for name, version in under_apache]
    for text, users in with_texts.values():
        users = sorted(set(users))
        say += ["", "-" * 100, ""]
        say += [f"  {name} {version} ({expression(known[name, version])})" for name, version in users]
        say += ["", text]
    print("\n".join(line.rstrip() for line in "\n".join(say).splitlines()))


def when():
    """The time of the commit, so that the same commit gives the same document."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH") or run("git", "log", "-1", "--format=%ct").strip()
    return datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def sbom():
    shipped, helping, known, resolve = crates()
    lock = (ROOT / "Cargo.lock").read_bytes()
    sums = {}
    for package in lock.decode().split("[[package]]")[1:]:
        said = dict(re.findall(r'^(name|version|checksum) = "(.*)"$', package, re.MULTILINE))
        sums[said["name"], said["version"]] = said.get("checksum")
    reference = {known[crate]["id"]: f"pkg:cargo/{crate[0]}@{crate[1]}" for crate in shipped | helping}

    def component(crate):
        name, version = crate
        package = known[crate]
        said = {
            "type": "application" if name == "wsgate" else "library",
            "bom-ref": reference[package["id"]],
            "name": name,
            "version": version,
            "scope": "required" if crate in shipped else "excluded",
            "licenses": [{"expression": expression(package)}],
            "purl": reference[package["id"]].replace("+", "%2B"),
        }
        if package["description"]:
            said["description"] = " ".join(package["description"].split())
        if sums[crate]:
            said["hashes"] = [{"alg": "SHA-256", "content": sums[crate]}]
        if package["repository"]:
            said["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
        return said

    own = next(crate for crate in shipped if crate[0] == "wsgate")
    main = component(own)
    del main["scope"]
    needs = {node["id"]: node["dependencies"] for node in resolve["nodes"]}
    print(json.dumps({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(lock).hexdigest() + own[1])}",
        "version": 1,
        "metadata": {
            "timestamp": when(),
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [{"type": "application", "name": "supply.py", "group": "wsgate", "version": own[1]}]},
            "component": main,
        },
        "components": [component(crate) for crate in sorted((shipped | helping) - {own})],
        "dependencies": [
            {"ref": ref, "dependsOn": sorted(reference[need] for need in needs[id] if need in reference)}
            for id, ref in sorted(reference.items(), key=lambda pair: pair[1])
        ],
    }, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    commands = {"licences": licences, "sbom": sbom}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]]()
