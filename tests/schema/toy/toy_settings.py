"""The settings of the toy project: the tool, one app, one database."""

import json
import os
from pathlib import Path

BASE_DIR = Path(__file__).parent
SECRET_KEY = "toy"
INSTALLED_APPS = ["toys", "pixsim.schema"]
DATABASES = {"default": json.loads(os.environ["TOY_DATABASE"])}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
