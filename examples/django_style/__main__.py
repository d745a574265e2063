"""What `manage.py` is to Django.

python -m examples.django_style serve
python -m examples.django_style consume
"""

import sys

from examples.django_style.commands import consume, serve

COMMANDS = {"consume": consume, "serve": serve}

if len(sys.argv) != 2 or sys.argv[1] not in COMMANDS:
    sys.exit(f"usage: python -m examples.django_style {' | '.join(COMMANDS)}")
COMMANDS[sys.argv[1]]()
