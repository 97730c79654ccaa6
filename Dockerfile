# SyncNet in a container: `docker compose up --build` starts three, docs/DOCKER.md tells the rest.
#
# The base images are arguments, for machines that take their images from elsewhere. Both must have the same
# C library; scripts/make_base_images.sh makes them where none can be pulled.
ARG BUILD_IMAGE=rust:1.95-bookworm
ARG RUN_IMAGE=gcr.io/distroless/cc-debian12:latest

FROM ${BUILD_IMAGE} AS build
WORKDIR /build
# Backtraces keep the names of functions; line numbers would make the programs ten times as large.
ENV CARGO_PROFILE_RELEASE_DEBUG=none

# The dependencies are a layer of their own, which a change of the source leaves in the cache. Cargo wants
# every target of the manifest to be there, so each gets an empty file.
COPY Cargo.toml Cargo.lock ./
RUN for target in build.rs src/bin/syncnet-server.rs src/bin/syncnet-client.rs src/bin/syncnet-admin.rs \
        $(sed -n 's/^path = "\(.*\)"$/\1/p' Cargo.toml); \
        do mkdir -p "$(dirname "$target")" && echo 'fn main() {}' > "$target"; done \
    && touch src/lib.rs \
    && cargo build --release --locked --bins

COPY build.rs ./
COPY src src
# Files come with the times they have outside, which may lie before those of the empty ones.
RUN find build.rs src -exec touch {} + \
    && cargo build --release --locked --bins \
    && mkdir -p /image/usr/local/bin /image/etc/syncnet /image/var/lib/syncnet \
    && cp target/release/syncnet-server target/release/syncnet-client target/release/syncnet-admin /image/usr/local/bin/

FROM ${RUN_IMAGE}
# The id is fixed: volumes outlive images, and belong to it.
ARG UID=10001
COPY --from=build /image/usr/local/bin /usr/local/bin
COPY --from=build --chown=${UID}:${UID} /image/etc/syncnet /etc/syncnet
COPY --from=build --chown=${UID}:${UID} /image/var/lib/syncnet /var/lib/syncnet
USER ${UID}:${UID}
ENV SYNCNET_DATA_DIR=/var/lib/syncnet SYNCNET_LOG_DIR=/var/lib/syncnet/logs
VOLUME /var/lib/syncnet
# Clients, discovery, heartbeats and election, links between servers: as long as the base port is 8000.
EXPOSE 8000/tcp 8010/udp 8020/udp 8030/tcp
STOPSIGNAL SIGTERM
# Whether this process works, never whether there is a majority: to restart a server that waits for others
# helps nobody. `syncnet-server --ready` asks whether people can be sent here.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["syncnet-server", "--health"]
# The first start, a restart and the start after an upgrade are the same line; the environment or a mounted
# configuration file says the rest.
ENTRYPOINT ["syncnet-server"]
