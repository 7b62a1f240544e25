"""The site for a WSGI server; live updates need ASGI (`pixsim.asgi`)."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pixsim.settings")

_site = get_wsgi_application()

from pixsim.web.bodies import limited_bodies  # noqa: E402  needs the settings

application = limited_bodies(_site)
