"""The site for an ASGI server: `uvicorn pixsim.asgi:application`."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pixsim.settings")

application = get_asgi_application()
