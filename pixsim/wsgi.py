"""The site for a WSGI server; live updates need ASGI (`pixsim.asgi`)."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pixsim.settings")

application = get_wsgi_application()
