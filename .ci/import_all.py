"""Import every module of the installed package, so that a dependency that is not listed is noticed."""

import importlib
import pkgutil
import sys
from importlib import metadata
from pathlib import Path

import maester

OPTIONAL = {"psycopg": "postgres", "rq": "jobs", "redis": "jobs", "pytest": "test"}


def main() -> int:
    """Import all; say what is missing."""
    where = Path(maester.__file__).parent
    if not where.is_relative_to(sys.prefix):
        print(f"maester was imported from {where} and not as installed", file=sys.stderr)
        return 1
    names = ["wsgi", *(found.name for found in pkgutil.walk_packages(maester.__path__, "maester."))]
    missing = 0
    # Importing it is starting it: these have a command of their own.
    skipped = {"maester.__main__", "wsgi", "maester.web.gunicorn"}
    for name in names:
        if name in skipped or ".migrations." in name:
            continue
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as exc:
            if (exc.name or "").split(".")[0] not in OPTIONAL:
                print(f"{name}: {exc}", file=sys.stderr)
                missing += 1
    print(f"maester {metadata.version('maester')}: {len(names)} modules, {missing} not importable")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
