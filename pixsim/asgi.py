"""The site for an ASGI server: `manage.py serve`."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pixsim.settings")

_site = get_asgi_application()

# What needs settings can be imported only now.
from django.conf import settings  # noqa: E402
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # noqa: E402

from pixsim.web.bodies import LimitedBodies  # noqa: E402

# In production WhiteNoise serves static files, as they were collected.
application = LimitedBodies(ASGIStaticFilesHandler(_site) if settings.DEBUG else _site)
