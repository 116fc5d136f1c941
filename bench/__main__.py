"""``python -m bench NAME [options]``: what measures Redrive against peers and limits, as ratios of the same run."""

import sys
from importlib import import_module

NAMES = {
    "api": "bench.api",
    "engine": "bench.engine",
    "export": "bench.export",
    "memory": "bench.memory",
    "monitoring": "bench.monitoring",
    "operations": "bench.operations",
    "pages": "bench.pages",
}


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        raise SystemExit(f"usage: python -m bench {{{','.join(NAMES)}}} [options]")
    import_module(NAMES[sys.argv[1]]).main(sys.argv[2:])


if __name__ == "__main__":
    main()
