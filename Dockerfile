# The bridge in a small image: no compiler, no root, nothing written outside /var/lib/imbridge.
# Build and run on the same Debian, because librdkafka is linked with its OpenSSL and zlib.
FROM rust:1.89-slim-bookworm AS build
WORKDIR /src
# In its own layer, so that a change of the source does not install the packages again.
COPY scripts/setup scripts/setup
RUN scripts/setup build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --release && \
    strip --strip-debug -o /imbridge target/release/imbridge

FROM debian:bookworm-slim
RUN apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g && \
    rm -rf /var/lib/apt/lists/* && \
    groupadd --gid 10001 imbridge && \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/imbridge --shell /usr/sbin/nologin imbridge && \
    install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/imbridge
COPY --from=build /imbridge /usr/local/bin/imbridge
COPY schemas /usr/share/imbridge/schemas
ENV IMBRIDGE_SCHEMAS__DIR=/usr/share/imbridge/schemas
USER 10001:10001
WORKDIR /var/lib/imbridge
VOLUME /var/lib/imbridge
EXPOSE 8080 8081 9464
STOPSIGNAL SIGTERM
# Checks /livez, not /readyz: a container whose spool is full or under repair must not be replaced.
# The image has no curl, so bash sends the request.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9464 && printf 'GET /livez HTTP/1.0\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [[ $status == 200 ]]"]
ENTRYPOINT ["imbridge"]
CMD ["serve", "--config", "/etc/imbridge/imbridge.toml"]
