# syntax=docker/dockerfile:1
# One static binary (musl) with the shipped policies inside, on an image that holds nothing else to run.
#   docker build -t registry.example.com/portcullis:0.1.0 .

FROM rust:1.95.0-alpine AS build
# A C compiler and libc headers, for ring.
RUN apk add --no-cache gcc musl-dev
WORKDIR /src
COPY . .
# The image's own target is *-linux-musl, which links statically.
RUN cargo build --profile dist --locked --bin portcullis

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /src/target/dist/portcullis /portcullis
USER 65532:65532
EXPOSE 8443 8080
ENTRYPOINT ["/portcullis"]
