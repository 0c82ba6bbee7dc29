# howdah with the ticket shop. Put your own services beside it, and name them in the last line.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY engine engine
COPY api api
COPY sql sql
COPY alembic alembic
RUN python -m venv /opt/howdah && /opt/howdah/bin/pip install --no-cache-dir .

FROM python:3.13-slim
RUN useradd --system --user-group --no-create-home howdah
COPY --from=build /opt/howdah /opt/howdah
COPY examples/tickets.py /app/tickets.py
ENV PATH=/opt/howdah/bin:$PATH PYTHONUNBUFFERED=1
# There is no authentication: who publishes these ports decides who may reach them.
ENV HOWDAH_INGRESS=0.0.0.0:8080 HOWDAH_ADMIN=0.0.0.0:9070
WORKDIR /app
USER howdah
EXPOSE 8080 9070
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=5 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9070/health', timeout=2)"]
CMD ["howdah", "serve", "--migrate", "--insecure", "/app/tickets.py"]
