# The release of Debian is the same in both stages, so that the C library is.
FROM rust:1.95.0-bookworm AS build
WORKDIR /src
# The toolchain of the image is the one that is wanted; do not let rustup look for another.
ENV RUSTUP_TOOLCHAIN=1.95.0

# Dependencies first: this layer is built again only when they change.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -r src

COPY . .
# The files copied may be older than what was built of the empty ones above.
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked \
    && strip --strip-debug target/release/dutygate

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="dutygate" \
      org.opencontainers.image.description="Self-hosted, PagerDuty-compatible event gateway" \
      org.opencontainers.image.licenses="Apache-2.0"

# Receivers are reached by TLS.
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*

RUN groupadd --system --gid 10001 dutygate \
    && useradd --system --uid 10001 --gid dutygate --home-dir /data --shell /usr/sbin/nologin dutygate \
    && install --directory --owner dutygate --group dutygate --mode 0700 /data

COPY --from=build /src/target/release/dutygate /usr/local/bin/dutygate
COPY LICENSE /usr/share/doc/dutygate/LICENSE

# In a container "only this machine" would be nobody: who may reach the port is decided outside.
ENV DUTYGATE_LISTEN=0.0.0.0:8080 \
    DUTYGATE_DATABASE_URL=sqlite:///data/dutygate.db

# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["dutygate", "healthcheck"]
ENTRYPOINT ["dutygate"]
CMD ["serve"]
