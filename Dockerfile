# The proxy alone, on a base that has certificates, time zones and a user, and neither a shell nor a package manager.
#
#   make image                  builds it with what there is of docker, podman and buildah
#
# Both bases are pinned by the digest of their index, so that the same commit gives the same image. The tag beside it is for
# the reader: .ci/pins --online says where it has moved on, and a release is not made before the digests are those of images
# that exist for each platform.
ARG GO_IMAGE=docker.io/library/golang:1.26.8-bookworm@sha256:dc9ad6c05acc7a88e5b71bde60a5fe3bd4b9f0db209011711b464107438a8107
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot@sha256:afa5c872c891853ca7fcf1f12c3edb23f7eeef36189728842dd51042ff57f7ab

# Go compiles for every platform on the builder's own: nothing is emulated.
FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=devel
ARG REVISION=unknown
RUN --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH make build VERSION=$VERSION REVISION=$REVISION

# The platform is what it would be anyway; older versions of buildah and podman take that of the stage before.
FROM --platform=$TARGETPLATFORM ${BASE_IMAGE}
ARG VERSION=devel
ARG REVISION=unknown
# When the commit was made, not when it was built: two builds are the same.
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="cstproxy" \
      org.opencontainers.image.description="Caching proxy for the Client Session Tokens of Portal's wallet API" \
      org.opencontainers.image.source="https://github.com/cstproxy/cstproxy" \
      org.opencontainers.image.documentation="https://github.com/cstproxy/cstproxy#readme" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
COPY --from=build /src/bin/cstproxy /cstproxy
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
# The data API and the admin port. Neither is reached from outside of the container until it is told to listen there.
EXPOSE 8080 9090
# Kubernetes has probes of its own and passes over this.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["/cstproxy", "healthcheck"]
ENTRYPOINT ["/cstproxy"]
CMD ["serve"]
