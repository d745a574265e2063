"""Order processing from end to end, in some seconds and on a temporary file.

python -m examples.orders [--codec json|avro]
"""

import argparse
import asyncio
import os
import tempfile


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.orders", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--codec",
        choices=["json", "avro"],
        default="json",
        help="what the bodies are; avro: with a schema registry, which ORDERS_REGISTRY names (default: a temporary file)",
    )
    codec = parser.parse_args().codec
    with tempfile.TemporaryDirectory(prefix="waybill-orders-") as folder:
        os.environ |= {"WAYBILL_URL": f"sqlite:///{folder}/bus.db", "WAYBILL_APP": "examples.orders.service:app"}
        if codec == "avro":
            os.environ.setdefault("ORDERS_REGISTRY", f"sqlite:///{folder}/registry.db")
        from examples.orders.story import demo  # noqa: PLC0415 - the contracts read the environment when they are imported

        asyncio.run(demo())


if __name__ == "__main__":
    main()
