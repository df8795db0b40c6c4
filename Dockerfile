# Settings are CHAOSPROXY_* variables; `docker run IMAGE run --help` lists them. For a build that never changes, pin the
# base by digest: python:3.13-slim-bookworm@sha256:… (docker buildx imagetools inspect python:3.13-slim-bookworm).
# Checked with hadolint (tests/test_dockerfile.py).
FROM python:3.13-slim-bookworm AS build

WORKDIR /src
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY chaosproxy ./chaosproxy
RUN python -m venv /opt/chaosproxy \
    && /opt/chaosproxy/bin/pip install --no-cache-dir --disable-pip-version-check ".[tls,uvloop]"

FROM python:3.13-slim-bookworm

LABEL org.opencontainers.image.title="chaosproxy" \
      org.opencontainers.image.description="A fault proxy for WebSockets, invisible until a profile says otherwise" \
      org.opencontainers.image.licenses="MIT"

COPY --from=build /opt/chaosproxy /opt/chaosproxy

ENV PATH="/opt/chaosproxy/bin:$PATH" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CHAOSPROXY_LISTEN="0.0.0.0:7001" \
    CHAOSPROXY_CONTROL="0.0.0.0:7002"

USER 65532:65532
EXPOSE 7001 7002

HEALTHCHECK --interval=5s --timeout=5s --start-period=5s CMD ["chaosproxy", "health"]

ENTRYPOINT ["chaosproxy"]
CMD ["run"]
