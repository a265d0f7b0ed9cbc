FROM scratch
COPY docker /usr/local/bin/docker
