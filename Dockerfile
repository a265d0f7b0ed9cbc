# The server with the programs that it runs: git, git-lfs, ssh, terraform, helm, kind, and the docker client that kind needs.
#   docker build -t on-demand-infra .                                  (BuildKit, for the cache mounts)
#   docker build --build-arg TOOLS_IMAGE=my/tools -t on-demand-infra . (my/tools has the programs in /tools)
# README.md says how it is run.
ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG GO_IMAGE=golang:1.26-bookworm
ARG DOCKER_IMAGE=docker:28-cli
ARG TERRAFORM_IMAGE=hashicorp/terraform:1.11
ARG BASE_IMAGE=debian:bookworm-slim
ARG TOOLS_IMAGE=tools

FROM ${DOCKER_IMAGE} AS docker
FROM ${TERRAFORM_IMAGE} AS terraform

# The default tools. An image that is named by TOOLS_IMAGE takes the place of this stage, which is then not built.
FROM ${GO_IMAGE} AS tools
ARG KIND_VERSION=v0.30.0
ARG HELM_VERSION=v3.22.0
RUN --mount=type=cache,target=/root/.cache/go-build --mount=type=cache,target=/go/pkg/mod \
    export CGO_ENABLED=0 GOBIN=/tools \
 && go install -trimpath -ldflags "-s -w" sigs.k8s.io/kind@${KIND_VERSION} \
 && go install -trimpath -ldflags "-s -w" helm.sh/helm/v3/cmd/helm@${HELM_VERSION}
COPY --from=docker /usr/local/bin/docker /tools/
COPY --from=terraform /bin/terraform /tools/

FROM ${TOOLS_IMAGE} AS chosen-tools

FROM ${RUST_IMAGE} AS build
# `dev` compiles in a third of the time.
ARG PROFILE=dist
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --profile "$PROFILE" \
 && case "$PROFILE" in dev) made=debug ;; *) made=$PROFILE ;; esac \
 && cp "target/$made/on-demand-infra" /on-demand-infra

FROM ${BASE_IMAGE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl git git-lfs openssh-client \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home app \
 && install -d -o app -g app -m 700 /app /app/app_workspaces
COPY --from=chosen-tools /tools/ /usr/local/bin/
COPY --from=build /on-demand-infra /usr/local/bin/
USER app
WORKDIR /app
ENV HOST=0.0.0.0 PORT=8000 PERSISTENT_WORKSPACE_BASE_DIR=/app/app_workspaces
VOLUME /app/app_workspaces
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD curl -fsS -o /dev/null "http://127.0.0.1:${PORT:-8000}/health"
ENTRYPOINT ["on-demand-infra"]
CMD ["serve"]
