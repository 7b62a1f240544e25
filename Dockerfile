FROM python:3.11-slim AS packages
COPY requirements.txt .
RUN python -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir -r requirements.txt

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/pixsim --create-home pixsim
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY . .
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DEBUG=false \
    PIXSIM_HOME=/var/lib/pixsim
# Static files are the same for every installation; the values below serve this one command.
RUN ALLOWED_HOSTS=build SECRET_KEY=build CREDENTIALS_KEYS=build DATABASE_URL=postgres://build/build \
    python manage.py collectstatic --noinput
USER pixsim
VOLUME /var/lib/pixsim
EXPOSE 8000
CMD ["python", "manage.py", "serve", "--host", "0.0.0.0", "--port", "8000"]
