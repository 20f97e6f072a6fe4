# One image; its role is its command: the API (below), `celery -A wallet worker`,
# `celery -A wallet beat`, or any `python manage.py …`.
FROM python:3.13.5-slim

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /app
# Only what the service runs on, each file as its hash says; no test library, no simulator.
COPY requirements-production.txt requirements-mysql.txt requirements-postgresql.txt ./
RUN pip install --require-hashes -r requirements-production.txt \
        -r requirements-mysql.txt -r requirements-postgresql.txt \
    && useradd --system --no-create-home --uid 10001 wallet
COPY . .
# A key that is used for this step only: one that the image kept would be everybody's.
RUN SECRET_KEY=for-this-step-only python manage.py collectstatic --noinput \
    && install -d -o wallet /data

# As a number: who runs the image can tell that it is not root.
USER 10001
# Where the key is kept that is made if SECRET_KEY is not set: a volume outlives a container.
ENV SECRET_KEY_FILE=/data/secret-key
VOLUME /data
EXPOSE 8000

HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://localhost:8000/healthz', timeout=2)"]

CMD ["python", "-m", "wallet.serve", "--host", "0.0.0.0"]
