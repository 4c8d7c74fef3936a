# The warmer, and nothing else. The binaries are built before (scripts/build-warmer.sh) and scripts/image.sh collects
# them with the certificate authorities, so that this needs neither a network nor anything that runs: it builds for an
# architecture that isn't the builder's.
FROM scratch
ARG TARGETARCH
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="harbor-warmer" \
      org.opencontainers.image.description="Makes Harbor's proxy caches fill before anybody pulls, and proves that they have" \
      org.opencontainers.image.source="https://github.com/harbor-warmer/harbor-warmer" \
      org.opencontainers.image.url="https://github.com/harbor-warmer/harbor-warmer" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# The queue's directory, so that a volume without an owner of its own is the user's. What is above it stays root's.
COPY var /var
COPY --chown=65532:65532 data /var/lib/harbor-warmer
COPY harbor-warmer-${TARGETARCH} /usr/bin/harbor-warmer
USER 65532:65532
EXPOSE 8443 9090
ENTRYPOINT ["/usr/bin/harbor-warmer"]
CMD ["serve", "--config", "/etc/harbor-warmer/config.yaml"]
