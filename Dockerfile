# An image with one static binary and the certificates of public authorities; nothing else, no shell.
#
#   docker build -t jmap-push-proxy .
#   docker run --read-only -p 8888:8888 -v jmap-push:/var/lib/jmap-push-proxy \
#     jmap-push-proxy --upstream http://jmap.example.org:8080
#
# tests/image proves the pieces without a container engine.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    install -D "$(deploy/static-build)" /out/jmap-push-proxy && install -d -m 700 /out/state

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/jmap-push-proxy /jmap-push-proxy
# PushSubscriptions, the only thing that is written. Whoever mounts a folder of the host makes it 65532's.
COPY --from=build --chown=65532:65532 /out/state /var/lib/jmap-push-proxy
ENV JMAP_PUSH_PROXY__PUSH__STORE=/var/lib/jmap-push-proxy/push.sqlite
VOLUME /var/lib/jmap-push-proxy
# A number, because there is no /etc/passwd, and so that Kubernetes sees that it is not root.
USER 65532:65532
# Clients, and health for the orchestrator. Metrics (8889) stay on loopback unless set otherwise.
EXPOSE 8888 8890
HEALTHCHECK --interval=10s --timeout=3s CMD ["/jmap-push-proxy", "healthcheck"]
ENTRYPOINT ["/jmap-push-proxy"]
