# An image with nothing in it but gopm, to copy the binary from:
#
#   docker build -t gopm .                       # or --build-arg VERSION=v1.2.3
#   COPY --from=gopm /gopm /usr/local/bin/gopm   # in the Dockerfile of an app: see examples/docker
#
# Or to run static programs by, with an ecosystem file: ENTRYPOINT ["/gopm", "runtime", "/ecosystem.json"]

ARG GO=golang:1.26
FROM ${GO} AS build
ARG VERSION=""
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X gopm/cmd.version=${VERSION:-$(cat VERSION)}" -o /gopm ./cmd/gopm

FROM scratch
COPY --from=build /gopm /gopm
ENTRYPOINT ["/gopm"]
