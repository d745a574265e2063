"""Emulators let everybody in who has a name."""

from __future__ import annotations

import os

os.environ.setdefault("AWS_ACCESS_KEY_ID", "emulated")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "emulated")
