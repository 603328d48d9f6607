# JOG with Litestream in a small image: one static binary each, no shell but the base's.
#
#   docker build -t jog .
#   docker run -p 9000:9000 -v jog-data:/data -e JOG_ACCESS_KEY=... -e JOG_SECRET_KEY=... jog

ARG RUST_IMAGE=docker.io/library/rust:1-slim-bookworm
ARG LITESTREAM_IMAGE=docker.io/litestream/litestream:0.5
ARG BASE_IMAGE=docker.io/library/alpine:3.21

FROM ${RUST_IMAGE} AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends musl-tools \
    && rm -rf /var/lib/apt/lists/* \
    && rustup target add "$(uname -m)-unknown-linux-musl"
WORKDIR /jog
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY src src
RUN cargo build --profile static --locked --bin jog --target "$(uname -m)-unknown-linux-musl" \
    && mkdir -p /out/data \
    && cp "target/$(uname -m)-unknown-linux-musl/static/jog" /out/jog

FROM ${LITESTREAM_IMAGE} AS litestream

FROM ${BASE_IMAGE}
COPY --from=build /out/jog /usr/local/bin/jog
COPY --from=litestream /usr/local/bin/litestream /usr/local/bin/litestream
COPY packaging/docker/litestream.yml /etc/litestream.yml
COPY packaging/docker/entrypoint.sh /entrypoint.sh
# A new named volume takes its owner from here; a folder of the host has to be given to 10001.
COPY --from=build --chown=10001:10001 /out/data /data
USER 10001:10001
# Temporary files of verify and backup, which no directory names; /tmp may be read-only or in memory.
ENV JOG_DATA_DIR=/data SQLITE_TMPDIR=/data
VOLUME /data
EXPOSE 9000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["jog", "healthcheck"]
ENTRYPOINT ["/entrypoint.sh"]
