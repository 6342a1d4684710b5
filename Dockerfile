# The BIDS App of lacunet with its models inside: nothing is downloaded when it runs.
#   docker build -t lacunet:0.1.0-cpu .
#   docker build -t lacunet:0.1.0-cuda --build-arg VARIANT=cuda .
# docs/bids.md says how it is run.

FROM python:3.11.14-slim-bookworm AS build
ARG VARIANT=cpu
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE requirements.lock ./
COPY src src
COPY recipes recipes
COPY containers containers
RUN sh containers/install.sh "${VARIANT}" /opt/lacunet

FROM python:3.11.14-slim-bookworm
ARG VARIANT=cpu
ARG REVISION=unknown
LABEL org.opencontainers.image.title="lacunet" \
      org.opencontainers.image.description="BIDS App: masks of brain tumours from whichever MRI sequences a patient has. Research software, not a medical device." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.authors="The lacunet authors" \
      org.opencontainers.image.base.name="docker.io/library/python:3.11.14-slim-bookworm" \
      lacunet.variant="${VARIANT}"
COPY --from=build /opt/lacunet /opt/lacunet
# The root may be read-only: whatever is written goes to OUTPUT_DIR, or to /tmp. No package of the host's user is read.
ENV PATH="/opt/lacunet/bin:${PATH}" \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONNOUSERSITE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["/opt/lacunet/bin/lacunet-bids"]
CMD ["--help"]
