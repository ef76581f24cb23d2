"""Find a Chromium that runs: run as a script it prints the path, or says how to get one."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC_APPS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


def answers(executable: str) -> bool:
    """Tell whether `executable` is a Chromium that starts: Ubuntu's chromium-browser is a stub that does not."""
    try:
        version = subprocess.run([executable, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return version.returncode == 0 and "Chrom" in version.stdout


def candidates() -> Iterator[str]:
    """Yield the places where a Chromium may be, the likeliest first."""
    yield from filter(None, map(shutil.which, NAMES))
    yield from (path for path in MAC_APPS if Path(path).exists())
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.executable_path


def find() -> str | None:
    """Return the path of a Chromium that runs, or None. CHROMIUM, where set, is the only one looked at."""
    chosen = os.environ.get("CHROMIUM")
    looked_at = [chosen] if chosen else candidates()
    return next(filter(answers, looked_at), None)


def why_none() -> str:
    """Say why there is no Chromium, and how to get one."""
    chosen = os.environ.get("CHROMIUM")
    if chosen:
        return f"CHROMIUM={chosen} is not a Chromium that runs"
    return (
        "no Chromium was found: install chromium or google-chrome (on Debian: apt-get install chromium), "
        f"or run '{sys.executable} -m playwright install chromium', or set CHROMIUM to the path of one"
    )


if __name__ == "__main__":
    print(find() or sys.exit(why_none()))
