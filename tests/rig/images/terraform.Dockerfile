FROM scratch
COPY terraform /bin/terraform
