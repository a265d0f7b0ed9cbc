FROM debian:bookworm-slim
# Debian's JDK and Maven: its packages are those that an application's build asks for, from this machine's own registry.
RUN mkdir -p /usr/share/man/man1 && apt-get update -qq && apt-get install -y -qq --no-install-recommends openjdk-17-jdk-headless maven >/dev/null \
 && rm -rf /var/lib/apt/lists/*
CMD ["mvn"]
